import Cryptography
import TestSupport
import Testing

@Suite struct Sha256Tests {
    /// FIPS 180-4's example, in two pieces.
    @Test func aFileInPiecesHasItsHash() {
        let stream = Sha256Stream()
        for piece in ["a", "bc"] { Array(piece.utf8).withUnsafeBytes { stream.update($0) } }
        #expect(
            text(stream.finish().bytes) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    }
}
