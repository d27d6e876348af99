import Primitives

/// Derives fresh key material from one draw of entropy, deterministically. Each output is keyed BLAKE2b of
/// the state, which then moves on one way, so that a later reader of the state can't compute earlier keys.
public struct KeyRatchet: Sendable {
    private var state: Bytes32

    public init(entropy: Bytes32, purpose: StaticString) {
        state = Blake2b.hash(domain: purpose, entropy.bytes)
    }

    public mutating func next() -> Bytes32 {
        let key = state.bytes
        state = Blake2b.keyed(key, [1])
        return Blake2b.keyed(key, [2])
    }
}
