namespace BitmapLedger.Qmp;

/// <summary>A command was turned down; on both ends of the wire.</summary>
/// <param name="errorClass">Class of the error.</param>
/// <param name="description">The text; clients look for it word by word.</param>
public sealed class QmpException(QmpErrorClass errorClass, string description) : Exception(description)
{
    /// <summary>With the class that nearly all errors have.</summary>
    /// <param name="description">The text.</param>
    public QmpException(string description)
        : this(QmpErrorClass.GenericError, description)
    {
    }

    /// <summary>Class of the error.</summary>
    public QmpErrorClass ErrorClass { get; } = errorClass;

    /// <summary>The text.</summary>
    public string Description => Message;
}
