import CSodium

/// Initialises libsodium once per process, before its first use anywhere; thread-safe and idempotent.
enum Sodium {
    static let ready: Void = {
        precondition(sodium_init() >= 0, "libsodium could not be initialised")
    }()
}
