import CSodium

/// Initialises libsodium once per process, before its first use anywhere; thread-safe and idempotent.
enum Sodium {
    static let ready: Void = {
        precondition(sodium_init() >= 0, "libsodium could not be initialised")
    }()
}

extension UnsafeRawBufferPointer {
    /// The address, for C functions. The buffer must not be empty.
    var start: UnsafePointer<UInt8> {
        guard let base = baseAddress else { preconditionFailure("an empty buffer has no address") }
        return base.assumingMemoryBound(to: UInt8.self)
    }
}

extension UnsafeMutableRawBufferPointer {
    var start: UnsafeMutablePointer<UInt8> {
        guard let base = baseAddress else { preconditionFailure("an empty buffer has no address") }
        return base.assumingMemoryBound(to: UInt8.self)
    }
}
