import Discovery
import Gossip
import Market
import Primitives
import Sessions
import Wire

// Routes each message to exactly one machine, and sends the machines' requests.
extension Peer {
    mutating func route(_ incoming: Incoming) {
        let peer = incoming.peer
        guard !denied.contains(peer.key) else { return }
        // Any message is a sign of life, but only from a session that has proven its address.
        if incoming.proven { auctioneer.heard(peer.key, turn.monotonic) }
        let answer: Message?
        switch incoming.message {
        case .discovery(let message):
            answer = discovered(message, incoming).map(Message.discovery)
        case .gossip(let message):
            heard(incoming)
            switch message {
            case .offerMail, .offerDigest:
                answer = gossip.handle(
                    message, from: peer, proven: incoming.proven, turn: &turn,
                    out: &gossipActions
                ).map(Message.gossip)
            case .offerReceived, .offerDifference: return
            }
        case .market(let message):
            heard(incoming)
            switch message {
            case .callForBids, .release, .award:
                answer = toBidder(message, from: peer, proven: incoming.proven).map(Message.market)
            case .bid, .decline, .awardReply: return
            }
        // An answer comes as the completion of a request; unasked it shows only that its sender is alive.
        case .unsupported: return heard(incoming)
        }
        if let answer, let reply = incoming.reply {
            sessions.reply(answer, to: reply, turn: &turn, out: &sessionOutput)
        }
    }

    private mutating func discovered(
        _ message: DiscoveryMessage, _ incoming: Incoming
    ) -> DiscoveryMessage? {
        switch message {
        case .callback(let nonce):
            heard(incoming)
            calledBack(nonce, incoming)
            return nil
        case .pong, .found, .registered, .providers:
            heard(incoming)
            return nil
        case .callbackRequest, .callbackOrder:
            guard incoming.envelopeBytes >= WireLimits.callbackEnvelopeMin else { return nil }
        case .callbackAnswer, .ping, .find, .get, .register: break
        }
        return discovery.handle(
            message, from: incoming.peer, proven: incoming.proven, turn: &turn,
            out: &discoveryActions)
    }

    /// Discovery itself registers signs of life in its own messages.
    private mutating func heard(_ incoming: Incoming) {
        guard incoming.proven else { return }
        discovery.heard(incoming.peer, turn: &turn, out: &discoveryActions)
    }

    mutating func complete(_ completion: Completion) {
        // An answer is a sign of life, whoever asked.
        if case .answered = completion.result { auctioneer.heard(completion.peer.key, turn.monotonic) }
        switch (completion.owner, completion.result) {
        case (.discovery(let token), .answered(let message, let roundTrip)):
            discovery.answered(
                token, message.discovery, from: completion.peer, roundTrip: roundTrip, turn: &turn,
                out: &discoveryActions)
        case (.discovery(let token), .unanswered):
            discovery.unanswered(token, turn: &turn, out: &discoveryActions)
        case (.discovery(let token), .notAsked):
            discovery.notAsked(token, turn: &turn, out: &discoveryActions)
        case (.gossip(let token), .answered(let message, let roundTrip)):
            gossip.answered(
                token, message.gossip, from: completion.peer, roundTrip: roundTrip, turn: &turn,
                out: &gossipActions)
        case (.gossip(let token), .unanswered):
            discovery.suspect(completion.peer.key, turn: &turn, out: &discoveryActions)
            gossip.unanswered(token, turn: &turn, out: &gossipActions)
            // Members found by a search are in no table whose probes would show that they are gone.
            if discovery.contact(of: completion.peer.key) == nil { gossip.memberLeft(completion.peer.key) }
        case (.gossip(let token), .notAsked):
            gossip.notAsked(token, turn: &turn, out: &gossipActions)
        case (.market(let token), .answered(let message, let roundTrip)):
            auctioneer.answered(
                token, message.market, from: completion.peer, roundTrip: roundTrip,
                turn: &turn, out: &auctioneerActions)
        case (.market(let token), .unanswered):
            discovery.suspect(completion.peer.key, turn: &turn, out: &discoveryActions)
            auctioneer.unanswered(
                token, turn: &turn, out: &auctioneerActions)
        case (.market(let token), .notAsked):
            auctioneer.notAsked(token, turn: &turn, out: &auctioneerActions)
        case (.peer, _):
            break
        }
    }

    /// Sends the auctioneer's request; one to this node itself is answered at once.
    mutating func request(_ token: RequestToken, _ message: MarketMessage, to peer: PeerAddress) {
        guard peer.key == identity.publicKey else {
            guard mayContact(peer) else {
                return auctioneer.notAsked(token, turn: &turn, out: &auctioneerActions)
            }
            return sessions.request(
                .market(message), to: peer, owner: .market(token), turn: &turn,
                out: &sessionOutput)
        }
        if let answer = toBidder(message, from: peer, proven: true) {
            auctioneer.answered(
                token, answer, from: peer, roundTrip: .zero, turn: &turn,
                out: &auctioneerActions)
        } else {
            auctioneer.unanswered(token, turn: &turn, out: &auctioneerActions)
        }
    }

    /// Passes a buyer's message to the bidder, with the network that it comes from.
    mutating func toBidder(_ message: MarketMessage, from peer: PeerAddress, proven: Bool) -> MarketMessage? {
        let group = peer.endpoint.group(countsEndpoints: countsEndpoints)
        return bidder.handle(
            message, from: peer, group: group, proven: proven, turn: &turn, out: &bidderActions)
    }

    /// Passes a frame to the auctioneer or the bidder, by its kind.
    mutating func frame(_ frame: Frame, from peer: PublicKey, on channel: ChannelID) {
        switch frame.body {
        case .open, .bodyPart, .cancel, .window, .receipt:
            bidder.received(frame, from: peer, channel: channel, turn: &turn, out: &bidderActions)
        case .delta, .progress, .finish, .fail, .hello:
            auctioneer.received(
                frame, from: peer, channel: channel, turn: &turn,
                out: &auctioneerActions)
        }
        // Only these two begin a task. Whatever else a stranger sends, its channel stays idle.
        switch frame.body {
        case .open, .hello: if owns(channel) { channels.claim(channel) }
        case .bodyPart, .cancel, .window, .receipt, .delta, .progress, .finish, .fail: break
        }
    }

    /// Whether a task of either machine is on this channel.
    func owns(_ channel: ChannelID) -> Bool { bidder.owns(channel) || auctioneer.owns(channel) }

    /// Sends a frame. A channel that can't take it is given up, because its stream would lack the frame.
    mutating func send(_ frame: Frame, on channel: ChannelID) {
        if !channels.send(frame, on: channel, turn: &turn, out: &channelActions) {
            channels.abandon(channel, out: &channelActions)
        }
    }

    mutating func channelFailed(_ channel: ChannelID, _ why: ChannelFailure) {
        auctioneer.channelClosed(channel, byUs: why == .limit, turn: &turn, out: &auctioneerActions)
        bidder.channelClosed(channel, turn: &turn, out: &bidderActions)
    }
}
