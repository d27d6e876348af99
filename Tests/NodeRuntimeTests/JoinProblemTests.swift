import Primitives
import Testing
import UVLoop

@testable import NodeRuntime

/// Each cause has a sentence of its own, which names the address and the fix.
@Suite struct JoinProblemTests {
    private let far = "198.51.100.9:7827"

    private func problem(
        _ endpoint: String, _ connection: ThisMachine.Sight.Connection, refusesDatagrams: Bool = false,
        listen: String = "0.0.0.0:7827", _ change: (inout JoinProblem) -> Void = { _ in }
    ) throws -> String {
        var problem = JoinProblem(
            endpoint: try #require(Endpoint(endpoint)),
            sight: .init(connection: connection, refusesDatagrams: refusesDatagrams),
            listen: try #require(Endpoint(listen)),
            own: [try #require(Endpoint("203.0.113.5:0")), try #require(Endpoint("192.168.1.7:0"))])
        change(&problem)
        return problem.description
    }

    @Test func whatIsSeenAtTheAddressTellsTheCause() throws {
        let sentences = [
            (try problem(far, .refused), "no program listens at \(far)"),
            (try problem(far, .silent), "nothing answers at \(far)"),
            (try problem(far, .unreachable(101)), "(network is unreachable)"),
            (try problem(far, .accepted, refusesDatagrams: true), "is no Starling node"),
            (try problem(far, .accepted), "its key is not the one in mesh.join, or its mesh.secret is not"),
            (try problem(far, .accepted) { $0.isJoined = true }, "hasn't the key that mesh.join names"),
            (try problem(far, .accepted) { $0.knowsUs = true }, "its mesh.name is not this node's"),
            (try problem(far, .accepted) { $0.hasNoSecret = true }, "has no mesh.secret"),
        ]
        for (sentence, cause) in sentences { #expect(sentence.contains(cause), "\(sentence)") }
        #expect(Set(sentences.map(\.0)).count == sentences.count)
    }

    @Test func anAnswerFromALocalAddressSaysWhichNodeMustBeLocal() throws {
        let own = try problem("127.0.0.1:7827", .accepted) { ($0.knowsUs, $0.answers) = (true, true) }
        #expect(own.contains("this machine alone") && own.contains("set mesh.address: 127.0.0.1 here"))
        let network = try problem("192.168.1.9:7827", .accepted) { $0.answers = true }
        #expect(network.contains("a local network") && network.contains("set mesh.address: 192.168.1.7 here"))
        for listen in ["127.0.0.1:7828", "192.168.1.7:7827"] {
            let other = try problem("192.168.1.9:7827", .accepted, listen: listen) { $0.answers = true }
            #expect(other.contains("set mesh.address: 192.168.1.9 in its file"))
        }
        #expect(try problem(far, .accepted) { $0.answers = true }.contains("mesh.public: \(far)"))
    }
}
