import Cryptography
import Primitives
import TestSupport
import Testing
import Wire

@testable import Sessions

@Suite struct VersionQuestionTests {
    private let node = Identity.ofNode(1)
    private let guarded = MeshIdentity(name: "main", key: Array("a long random text".utf8))

    /// What a node of `mesh` sends back.
    private func answers(_ question: VersionQuestion, of mesh: MeshIdentity) -> [[UInt8]] {
        var sessions = Sessions(identity: node, mesh: mesh, entropy: Bytes32(1, 2, 3, 4))
        var output = SessionOutput()
        var turn = Turn(
            now: Now(monotonic: .zero, wall: WallTime(milliseconds: 0)),
            random: SeededRandom(seed: Bytes32(5, 0, 0, 0)))
        var bytes = question.bytes
        _ = bytes.withUnsafeMutableBytes {
            sessions.receive($0, from: .loopback(2_000), turn: &turn, out: &output)
        }
        return (0..<output.datagrams.count).map {
            output.datagrams.withDatagram($0) { bytes, _ in Array(bytes) }
        }
    }

    private func isAnswered(_ key: PublicKey, _ asked: MeshIdentity, of mesh: MeshIdentity) -> Bool {
        let question = VersionQuestion(to: key, of: asked, noise: Bytes32(7, 7, 7, 7))
        return answers(question, of: mesh).contains { question.isAnswered(by: $0) }
    }

    @Test func aNodeOfThisKeyAndSecretAnswersUnderWhateverName() {
        let key = node.publicKey
        for name in ["main", "other"] {
            let open = MeshIdentity(name: name)
            let secret = MeshIdentity(name: name, key: Array("a long random text".utf8))
            #expect(isAnswered(key, MeshIdentity(name: "main"), of: open))
            #expect(isAnswered(key, guarded, of: secret))
            #expect(
                !isAnswered(key, guarded, of: open)
                    && !isAnswered(key, MeshIdentity(name: "main"), of: secret))
            #expect(!isAnswered(Identity.ofNode(2).publicKey, MeshIdentity(name: "main"), of: open))
        }
    }

    @Test func anAnswerToAnotherQuestionIsNone() {
        let open = MeshIdentity(name: "main")
        let question = VersionQuestion(to: node.publicKey, of: open, noise: Bytes32(7, 7, 7, 7))
        let other = VersionQuestion(to: node.publicKey, of: open, noise: Bytes32(8, 7, 7, 7))
        #expect(answers(other, of: open).count == 1)
        #expect(!answers(other, of: open).contains { question.isAnswered(by: $0) })
        for size in 0..<64 { #expect(!question.isAnswered(by: [UInt8](repeating: 7, count: size))) }
    }
}
