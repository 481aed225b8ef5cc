namespace BitmapLedger.Qmp;

/// <summary>A command was turned down; on both ends of the wire.</summary>
/// <param name="errorClass">Class of the error.</param>
/// <param name="description">The text; clients look for it word by word.</param>
/// <param name="cause">What turned it down, where that was no command of QMP.</param>
public sealed class QmpException(QmpErrorClass errorClass, string description, Exception? cause = null) : Exception(description, cause)
{
    /// <summary>With the class that nearly all errors have.</summary>
    /// <param name="description">The text.</param>
    /// <param name="cause">What turned it down, where that was no command of QMP.</param>
    public QmpException(string description, Exception? cause = null)
        : this(QmpErrorClass.GenericError, description, cause)
    {
    }

    /// <summary>Class of the error.</summary>
    public QmpErrorClass ErrorClass { get; } = errorClass;

    /// <summary>The text.</summary>
    public string Description => Message;
}
