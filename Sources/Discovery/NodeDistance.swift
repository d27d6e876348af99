import Cryptography
import Primitives

/// XOR distance (Kademlia §2.1) and the bucket that it selects: bucket i of a node holds the ids that share
/// exactly i leading bits with its own, so bucket 0 is the far half of the space.
extension NodeID {
    func distance(to target: Bytes32) -> Bytes32 { value ^ target }

    /// 0...255; nil for the id itself.
    func bucketIndex(of other: NodeID) -> Int? {
        let shared = (value ^ other.value).leadingZeroBitCount
        return shared < 256 ? shared : nil
    }

    /// A random point in bucket `index` (0...255) of this id.
    func randomPoint(inBucket index: Int, random: inout SeededRandom) -> Bytes32 {
        precondition((0..<256).contains(index), "bucket \(index) does not exist")
        let noise = random.bytes32()
        func word(_ own: UInt64, _ noise: UInt64, _ number: Int) -> UInt64 {
            let kept = min(max(index - 64 * number, 0), 64)  // leading bits shared with our own id
            let mask: UInt64 = kept == 64 ? .max : ~(UInt64.max >> UInt64(kept))
            var mixed = own & mask | noise & ~mask
            if index / 64 == number {
                let bit: UInt64 = 1 << UInt64(63 - index % 64)
                mixed = mixed & ~bit | ~own & bit
            }
            return mixed
        }
        return Bytes32(
            word(value.w0, noise.w0, 0), word(value.w1, noise.w1, 1), word(value.w2, noise.w2, 2),
            word(value.w3, noise.w3, 3))
    }
}
