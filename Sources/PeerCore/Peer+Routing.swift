import Discovery
import Gossip
import Market
import Primitives
import Sessions
import Wire

// Who gets a message: exactly one machine. And how a machine's request leaves.
extension Peer {
    mutating func route(_ incoming: Incoming, _ now: Now) {
        let peer = incoming.peer
        guard !denied.contains(peer.key) else { return }
        // A sign of life is a sign of life, whatever it says; but only from a session that proved its address.
        if incoming.proven { auctioneer.heard(peer.key) }
        let answer: Message?
        switch incoming.message {
        case .callback(let nonce):
            heard(incoming, now)
            return calledBack(nonce, incoming, now)
        case .callbackAnswer:
            _ = discovery.handle(
                incoming.message, from: peer, proven: incoming.proven, now: now, random: &random,
                out: &discoveryActions)
            return
        case .callbackRequest, .callbackOrder:
            guard incoming.envelopeBytes >= WireLimits.callbackEnvelopeMin else { return }
            answer = discovery.handle(
                incoming.message, from: peer, proven: incoming.proven, now: now, random: &random,
                out: &discoveryActions)
        case .ping, .find, .get, .register:
            answer = discovery.handle(
                incoming.message, from: peer, proven: incoming.proven, now: now, random: &random,
                out: &discoveryActions)
        case .offerMail, .offerDigest:
            heard(incoming, now)
            answer = gossip.handle(
                incoming.message, from: peer, proven: incoming.proven, now: now, random: &random,
                out: &gossipActions)
        case .callForBids, .release, .award:
            heard(incoming, now)
            answer = sell(now) {
                $0.handle(incoming.message, from: peer, proven: incoming.proven, turn: &$1, out: &$2)
            }
        case .pong, .found, .unsupported, .offerReceived, .offerDifference, .bid, .decline, .awardReply,
            .registered, .providers:
            // Answers come as completions of requests; unasked they mean nothing but that somebody lives.
            return heard(incoming, now)
        }
        if let answer, let reply = incoming.reply {
            sessions.reply(answer, to: reply, now: now, out: &sessionOutput)
        }
    }

    /// Discovery hears of its own messages by itself.
    private mutating func heard(_ incoming: Incoming, _ now: Now) {
        guard incoming.proven else { return }
        discovery.heard(incoming.peer, now: now, random: &random, out: &discoveryActions)
    }

    mutating func complete(_ completion: Completion, _ now: Now) {
        switch (completion.owner, completion.result) {
        case (.discovery(let token), .answered(let message, let roundTrip)):
            discovery.answered(
                token, message, from: completion.peer, roundTrip: roundTrip, now: now, random: &random,
                out: &discoveryActions)
        case (.discovery(let token), .unanswered):
            discovery.unanswered(token, now: now, random: &random, out: &discoveryActions)
        case (.gossip(let token), .answered(let message, let roundTrip)):
            gossip.answered(
                token, message, from: completion.peer, roundTrip: roundTrip, now: now, random: &random,
                out: &gossipActions)
        case (.gossip(let token), .unanswered):
            discovery.suspect(completion.peer.key, now: now, random: &random, out: &discoveryActions)
            gossip.unanswered(token, now: now, random: &random, out: &gossipActions)
            // Members that a search brought are in no table whose probes would tell that they are gone.
            if discovery.contact(of: completion.peer.key) == nil { gossip.memberLeft(completion.peer.key) }
        case (.market(let token), .answered(let message, let roundTrip)):
            buy(now) {
                $0.answered(
                    RequestToken(rawValue: token), message, from: completion.peer, roundTrip: roundTrip,
                    turn: &$1, out: &$2)
            }
        case (.market(let token), .unanswered):
            discovery.suspect(completion.peer.key, now: now, random: &random, out: &discoveryActions)
            buy(now) { $0.unanswered(RequestToken(rawValue: token), turn: &$1, out: &$2) }
        case (.peer, _):
            break
        }
    }

    /// The auctioneer's request; to ourselves it is answered on the spot.
    mutating func request(_ token: RequestToken, _ message: Message, to peer: PeerAddress, _ now: Now) {
        guard peer.key == identity.publicKey else {
            guard mayContact(peer, now) else {
                return buy(now) { $0.unanswered(token, turn: &$1, out: &$2) }
            }
            return sessions.request(
                message, to: peer, owner: .market(token.rawValue), now: now, random: &random,
                out: &sessionOutput)
        }
        let answer = sell(now) { $0.handle(message, from: peer, proven: true, turn: &$1, out: &$2) }
        if let answer {
            buy(now) { $0.answered(token, answer, from: peer, roundTrip: .zero, turn: &$1, out: &$2) }
        } else {
            buy(now) { $0.unanswered(token, turn: &$1, out: &$2) }
        }
    }

    /// A frame belongs to the auctioneer or to the bidder by its kind.
    mutating func frame(_ frame: Frame, from peer: PublicKey, on channel: ChannelID, _ now: Now) {
        switch frame.body {
        case .open, .bodyPart, .cancel, .window, .receipt:
            sell(now) { $0.received(frame, from: peer, channel: channel, turn: &$1, out: &$2) }
        case .delta, .progress, .finish, .fail, .hello:
            buy(now) { $0.received(frame, from: peer, channel: channel, turn: &$1, out: &$2) }
        }
    }

    mutating func channelFailed(_ channel: ChannelID, _ now: Now) {
        buy(now) { $0.channelClosed(channel, turn: &$1, out: &$2) }
        sell(now) { $0.channelClosed(channel, turn: &$1, out: &$2) }
    }

    /// Hands the auctioneer the sellers of a model, as the book has them now.
    mutating func answerNeed(_ task: TaskID, _ model: String, _ now: Now) {
        let sellers = gossip.offers(model: model).compactMap { offer -> Candidate? in
            let key = offer.record.publicKey
            guard !denied.contains(key) else { return nil }
            if key == identity.publicKey {
                return Candidate(
                    offer: offer, address: PeerAddress(key: key, endpoint: endpoints.first ?? .loopback(1)),
                    hasSession: true)
            }
            guard let address = address(of: offer) else { return nil }
            let hasSession = discovery.contact(of: key) != nil || sessions.hasSession(to: address)
            return Candidate(offer: offer, address: address, hasSession: hasSession)
        }
        let models = gossip.models
        var known: Set<PublicKey> = []
        for offer in gossip.allOffers { known.insert(offer.record.publicKey) }
        let found = OffersFound(
            sellers: sellers, known: known.count,
            alternatives: models.filter { $0.name != model }.map {
                (model: $0.name, outputPrice: $0.lowest.output)
            }
            .sorted { ($0.outputPrice, $0.model) < ($1.outputPrice, $1.model) }.prefix(8).map { $0 },
            catalogueKnows: models.contains { $0.name == model }, selfReachable: reachability.acceptsChannels,
            isReachabilityUntested: reachability == .unknown && profile == .internet)
        buy(now) { $0.offersFound(task, found, turn: &$1, out: &$2) }
    }
}
