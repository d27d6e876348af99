import Discovery
import Primitives
import Wire

/// What its nodes answer, honest or not.
extension StudyMesh {
    mutating func reply(to message: DiscoveryMessage, at node: Int, from asker: Int) -> DiscoveryMessage? {
        switch behaviours[node] {
        case .dead: return nil
        case .honest: return honestReply(to: message, at: node, from: asker)
        case .dropping:
            switch message {
            case .get, .register: return nil
            default: return honestReply(to: message, at: node, from: asker)
            }
        case .lying: return lie(message, at: node, to: asker)
        }
    }

    private mutating func honestReply(to message: DiscoveryMessage, at node: Int, from asker: Int)
        -> DiscoveryMessage?
    {
        let peer = address(asker)
        guard case .register = message else {
            return box(node).discovery.reply(to: message, from: peer, now: clock)
        }
        var reply: DiscoveryMessage?
        act(node) { reply = $0.handle(message, from: peer, proven: true, turn: &$1, out: &$2) }
        return reply
    }

    private func lie(_ message: DiscoveryMessage, at node: Int, to asker: Int) -> DiscoveryMessage? {
        let lies = Lies(
            own: contacts[node].signed,
            nearest: { target, count in
                nearest(count, to: target, in: liars).map { contacts[$0].signed }
            },
            registrations: { topic, start in
                (0..<5).map { registration(Int(liars[(Int(start) + $0 * 7) % liars.count]), topic).signed }
            })
        return lies.answer(.discovery(message), to: address(asker).endpoint)?.discovery
    }

    func registration(_ node: Int, _ topic: TopicID) -> Verified<Registration> {
        let record = Registration(
            publicKey: contacts[node].record.publicKey, topic: topic, endpoints: [address(node).endpoint],
            issuedAt: clock.wall)
        return Verified(signing: record, with: identityOf(node))
    }
}
