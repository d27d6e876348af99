import Discovery
import Market
import Primitives
import Sessions
import Wire

// Publishes what this node states about itself: its contact through Discovery, its offers through Gossip, and
// its registrations as a provider through Discovery again. Also runs the reachability tests, whose results
// change it.
extension Peer {
    // MARK: Statements

    /// Publishes our contact under a new sequence.
    mutating func stateContact() {
        discovery.setSelf(presence.contact(at: turn.wall), turn: &turn, out: &discoveryActions)
    }

    mutating func announceServed() {
        guard leaving == .no else { return }
        for model in presence.served {
            gossip.announce(presence.offer(of: model), turn: &turn, out: &gossipActions)
        }
    }

    /// Registers the topics of the models that we serve. A node that strangers can't reach is not registered:
    /// a stranger that found it there could not call it.
    mutating func registerServed() {
        guard leaving == .no, presence.canBeRegistered else { return }
        for model in presence.served {
            discovery.provide(
                presence.registration(of: TopicID(model: model.model), at: turn.wall), turn: &turn,
                out: &discoveryActions)
        }
    }

    mutating func withdrawTopic(_ model: String) {
        discovery.withdraw(TopicID(model: model), turn: &turn, out: &discoveryActions)
    }

    /// Peers agree on where they see us.
    mutating func endpointObserved(_ endpoint: Endpoint) {
        effects.append(.log(.observed(endpoint)))
        guard presence.observe(endpoint) else { return }
        stateContact()
        announceServed()
        registerServed()
    }

    // MARK: Reachability tests

    mutating func reachabilityTested(_ finding: ReachabilityFinding) {
        let (stated, isNews) = presence.note(finding)
        if isNews { effects.append(.log(.reachability(finding, stated: stated))) }
        guard stated != presence.reachability, leaving == .no else { return }
        presence.state(stated)
        bidder.acceptsChannels = stated.acceptsChannels
        stateContact()
        announceServed()
        if stated.answersStrangers {
            registerServed()
        } else {
            for model in presence.served { withdrawTopic(model.model) }
        }
    }

    /// May result from a callback that we requested: a first message with only a nonce.
    mutating func calledBack(_ nonce: UInt64, _ incoming: Incoming) {
        guard !incoming.proven, discovery.awaitsCallback(nonce) else {
            return discovery.countUnknownCallback()
        }
        let source = incoming.peer.endpoint
        let familiarity = sessions.familiarity(with: source, now: turn.now)
        // A node that we wrote to may pass our NAT even if strangers can't.
        guard familiarity != .endpoint else { return discovery.countUnknownCallback() }
        discovery.calledBack(
            nonce, from: source, isStranger: familiarity == .stranger, turn: &turn,
            out: &discoveryActions)
    }

    /// A contact asked us to call a node back: by one datagram from a separate port, and a channel that is
    /// closed as soon as it is open.
    mutating func callBack(_ address: PeerAddress, nonce: UInt64, channel: Bool) {
        guard !denied.contains(address.key) else { return }
        if let datagram = sessions.detached(.discovery(.callback(nonce: nonce)), to: address.key) {
            effects.append(.sendApart(datagram, address.endpoint))
        }
        if channel { dialling[channels.dial(address, turn: &turn, out: &channelActions)] = .test }
    }
}
