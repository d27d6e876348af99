import Cryptography
import NodeConfiguration
import Primitives

/// What a text that names a node matches.
public enum NodeMatch: Sendable {
    case node(PublicKey)
    /// No node that this one knows.
    case none
    /// The ids of several nodes begin so.
    case several([NodeCandidate])
    /// Only the label that these nodes give themselves, which any node can.
    case labelled([NodeCandidate])
}

/// One node that a text might mean.
public struct NodeCandidate: Sendable {
    public var key: PublicKey
    public var label: String
    public var endpoint: Endpoint?

    public init(key: PublicKey, label: String, endpoint: Endpoint?) {
        self.key = key
        self.label = label
        self.endpoint = endpoint
    }
}

extension Node {
    /// Candidates that are listed; a label may have thousands.
    private static let candidatesMax = 4

    public func resolve(nodes texts: [String]) async -> [NodeMatch] {
        let pinned = texts.map { names.key(of: $0) }
        guard pinned.contains(nil) else { return pinned.compactMap { $0.map(NodeMatch.node) } }
        let known = knownNodes.map { (id: NodeID(of: $0.key).description, node: $0) }
        return zip(texts, pinned).map { text, key in
            key.map(NodeMatch.node) ?? Self.match(text, in: known)
        }
    }

    /// All nodes that this one knows, and itself, by their keys' order.
    private var knownNodes: [NodeCandidate] {
        var known: [PublicKey: NodeCandidate] = [
            identity.publicKey: NodeCandidate(
                key: identity.publicKey, label: settings.name, endpoint: meshEndpoint)
        ]
        for offer in peer.allOffers {
            let record = offer.record
            known[record.publicKey] = NodeCandidate(
                key: record.publicKey, label: record.name, endpoint: record.endpoints.first)
        }
        for contact in peer.contacts {
            known[contact.publicKey] = NodeCandidate(
                key: contact.publicKey, label: contact.name, endpoint: contact.address)
        }
        return known.values.sorted { $0.key < $1.key }
    }

    static func match(_ text: String, in known: [(id: String, node: NodeCandidate)]) -> NodeMatch {
        let start = text.lowercased()
        let isID = start.utf8.count >= NodeID.shortCount
        if isID, let (_, node) = known.first(where: { $0.id == start || $0.node.key.description == start }) {
            return .node(node.key)
        }
        let begun = isID ? known.filter { $0.id.hasPrefix(start) } : []
        if begun.count == 1 { return .node(begun[0].node.key) }
        if !begun.isEmpty { return .several(begun.prefix(candidatesMax).map(\.node)) }
        let labelled = known.filter { $0.node.label == text }
        return labelled.isEmpty ? .none : .labelled(labelled.prefix(candidatesMax).map(\.node))
    }

    /// The owner's name for a node; else the label that it gives itself.
    func name(of key: PublicKey, label: String) -> (text: String, isPinned: Bool) {
        names.name(of: key).map { ($0, true) } ?? (label, false)
    }
}
