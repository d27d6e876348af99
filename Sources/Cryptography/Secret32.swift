import CSodium
import Primitives

/// 32 bytes for libsodium: a secret or shared key in the memory order that C reads, so that nothing is
/// converted or allocated per packet. It has no description, so that no log can show it.
public struct Secret32: Sendable {
    private var words: InlineArray<4, UInt64>

    /// The bytes of `value`, most significant first.
    public init(_ value: Bytes32) {
        words = [value.w0.bigEndian, value.w1.bigEndian, value.w2.bigEndian, value.w3.bigEndian]
    }

    /// The first 32 bytes of `bytes`, which must hold at least as many.
    public init(copying bytes: UnsafeRawBufferPointer) {
        precondition(bytes.count >= 32, "Secret32 needs 32 bytes, has \(bytes.count)")
        words = [
            bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self),
            bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self),
            bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self),
            bytes.loadUnaligned(fromByteOffset: 24, as: UInt64.self),
        ]
    }

    /// The same bytes as an ordinary value, for public keys and tests.
    public var value: Bytes32 {
        Bytes32(words[0].bigEndian, words[1].bigEndian, words[2].bigEndian, words[3].bigEndian)
    }

    @inline(__always)
    func withPointer<R>(_ body: (UnsafePointer<UInt8>) -> R) -> R {
        withUnsafeBytes(of: words) { body($0.start) }
    }

    /// Starts as zeros and lets `body` fill in the 32 bytes. Nil when `body` fails.
    @inline(__always)
    static func filled(_ body: (UnsafeMutablePointer<UInt8>) -> Int32) -> Secret32? {
        var secret = Secret32(.zero)
        let status = withUnsafeMutableBytes(of: &secret.words) { body($0.start) }
        return status == 0 ? secret : nil
    }
}
