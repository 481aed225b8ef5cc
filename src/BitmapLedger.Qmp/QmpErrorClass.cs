namespace BitmapLedger.Qmp;

/// <summary>The classes of errors that QMP has; their names are the wire's.</summary>
public enum QmpErrorClass
{
    /// <summary>Nearly everything.</summary>
    GenericError,

    /// <summary>No such command, or not before or after the negotiation.</summary>
    CommandNotFound,

    /// <summary>No such device.</summary>
    DeviceNotFound,

    /// <summary>Nothing of the kind runs on the device.</summary>
    DeviceNotActive,

    /// <summary>The host lacks a capability of KVM.</summary>
    KVMMissingCap,
}
