import Primitives

/// Fresh key material from one draw of entropy, deterministically: each output is keyed BLAKE2b of the state, and the
/// state moves on one way, so that whoever reads it later can't compute the keys that were used before.
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
