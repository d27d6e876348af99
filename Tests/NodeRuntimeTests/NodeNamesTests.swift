import Primitives
import Testing

@testable import NodeRuntime

/// How a text finds a node that the owner has not pinned.
@Suite struct NodeNamesTests {
    private let known: [(id: String, node: NodeCandidate)] = [
        ("aaaaaaaaaaaa0001", 1, "ada"), ("aaaaaaaaaaaa0002", 2, "bob"), ("bbbbbbbbbbbb0003", 3, "ada"),
        ("cccccccccccc0004", 4, ""),
    ].map { id, number, label in
        (id, NodeCandidate(key: PublicKey(Bytes32(0, 0, 0, number)), label: label, endpoint: nil))
    }

    private func key(_ number: UInt64) -> PublicKey { PublicKey(Bytes32(0, 0, 0, number)) }

    /// The numbers of the nodes, after what kind of match it is.
    private func match(_ text: String) -> String {
        func numbers(_ nodes: [NodeCandidate]) -> String {
            nodes.map { " \($0.key.value.w3)" }.joined()
        }
        switch Node.match(text, in: known) {
        case .node(let key): return "node \(key.value.w3)"
        case .none: return "none"
        case .several(let nodes): return "several" + numbers(nodes)
        case .labelled(let nodes): return "labelled" + numbers(nodes)
        }
    }

    @Test func anIdItsFirstTwelveCharactersAndAKeyFindANode() {
        #expect(match("bbbbbbbbbbbb") == "node 3")
        #expect(match("BBBBBBBBBBBB0003") == "node 3")
        #expect(match("aaaaaaaaaaaa0002") == "node 2")
        #expect(match(key(4).description) == "node 4")
        #expect(match("bbbbbbbbbbb") == "none", "eleven characters")
        #expect(match("bbbbbbbbbbbbb") == "none")
    }

    @Test func aBeginningOfSeveralIdsListsThem() {
        #expect(match("aaaaaaaaaaaa") == "several 1 2")
        #expect(match("aaaaaaaaaaaa0001") == "node 1")
    }

    @Test func aLabelFindsNothingEvenIfOneNodeAloneHasIt() {
        #expect(match("ada") == "labelled 1 3")
        #expect(match("bob") == "labelled 2")
        #expect(match("Ada") == "none")
        #expect(match("") == "labelled 4")
    }
}
