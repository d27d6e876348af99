import Cryptography
import Discovery
import Gossip
import Market
import Primitives
import Sessions
import Wire

// How far this node can be reached: what it says of itself, and how it finds out. Discovery tests; Sessions says who is
// a stranger; the statements are contact, offers and registrations.
extension Peer {
    /// What the test says, for what the operator has not said.
    private func stated(by finding: ReachabilityFinding) -> Reachability {
        switch (finding.datagrams, finding.channels) {
        case (.no, _): .outbound
        case (_, .no): .datagrams
        case (.yes, .yes): .direct
        case (.unknown, _), (_, .unknown): .unknown
        }
    }

    mutating func reachabilityTested(_ finding: ReachabilityFinding) {
        let stated = isReachabilityStated ? reachability : stated(by: finding)
        let isNews =
            stated != reachability || finding.datagrams != tested?.datagrams
            || finding.channels != tested?.channels
        tested = finding
        if isNews { effects.append(.log(.reachability(finding, stated: stated))) }
        guard stated != reachability, leaving == .no else { return }
        reachability = stated
        bidder.acceptsChannels = stated.acceptsChannels
        stateContact()
        announceServed()
        if stated.answersStrangers {
            registerServed()
        } else {
            for model in served { withdrawTopic(model.model) }
        }
    }

    /// One of our questions "call me back" may have led to this: a first message that says nothing but its nonce.
    mutating func calledBack(_ nonce: UInt64, _ incoming: Incoming) {
        guard !incoming.proven, discovery.awaitsCallback(nonce) else {
            return discovery.countUnknownCallback()
        }
        let source = incoming.peer.endpoint
        let familiarity = sessions.familiarity(with: source, now: turn.now)
        // A NAT lets that one in because we wrote to it.
        guard familiarity != .endpoint else { return discovery.countUnknownCallback() }
        discovery.calledBack(
            nonce, from: source, isStranger: familiarity == .stranger, turn: &turn,
            out: &discoveryActions)
    }

    /// A contact of ours has a node called back: one datagram that leaves from a port of its own, and a channel that is
    /// closed as soon as it is open.
    mutating func callBack(_ address: PeerAddress, nonce: UInt64, channel: Bool) {
        guard !denied.contains(address.key) else { return }
        if let datagram = sessions.detached(.discovery(.callback(nonce: nonce)), to: address.key) {
            effects.append(.sendApart(datagram, address.endpoint))
        }
        if channel { dialling[channels.dial(address, turn: &turn, out: &channelActions)] = .test }
    }

    // MARK: Strangers' addresses

    /// Whether `peer` may be sent a request: anybody with whom we have a session, others within the budget for an
    /// address that never answered. Offers and registrations are signed by their authors, who may name a victim's.
    mutating func mayContact(_ peer: PeerAddress) -> Bool {
        sessions.hasSession(to: peer) || discovery.mayAsk(peer, now: turn.now)
    }

    /// Where a seller is called: where its offer says, or, of one that strangers don't reach, where we talk to it.
    func address(of offer: Verified<Offer>) -> PeerAddress? {
        let key = offer.record.publicKey
        let stated = offer.record.endpoints.first ?? discovery.contact(of: key)?.address.endpoint
        let known = offer.record.reachability.answersStrangers ? nil : sessions.endpoint(of: key)
        return (known ?? stated).map { PeerAddress(key: key, endpoint: $0) }
    }
}
