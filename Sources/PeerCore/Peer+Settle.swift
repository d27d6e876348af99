import Discovery
import Gossip
import Market
import Primitives
import Sessions
import Wire

// How an action of one machine reaches another, and what remains for the shell.
extension Peer {
    private static let turnsMax = 10_000

    /// Carries actions from machine to machine until none is left. It ends: each turn consumes actions, and machines
    /// only act on events; the bound is there so that a mistake of ours, which tests find, hangs no node.
    mutating func settle() {
        var turns = 0
        while true {
            var isQuiet = true
            if !sessionOutput.completions.isEmpty || !sessionOutput.established.isEmpty {
                isQuiet = false
                for source in sessionOutput.strangers {
                    discovery.strangerCame(from: source, turn: &turn, out: &discoveryActions)
                }
                sessionOutput.strangers.removeAll(keepingCapacity: true)
                swap(&sessionOutput.completions, &spare.completions)
                for peer in sessionOutput.established { discovery.sessionOpened(with: peer, turn: &turn) }
                sessionOutput.established.recycle()
                for completion in spare.completions { complete(completion) }
                spare.completions.recycle()
            }
            if !sessionOutput.advice.isEmpty {
                for advice in sessionOutput.advice where versionNotices.take(turn.monotonic) {
                    let peer = advice.peer
                    effects.append(
                        .log(
                            .otherVersion(
                                peer.key, peer.endpoint, speaks: advice.versions, ours: Sessions.versions)))
                }
                sessionOutput.advice.recycle()
            }
            if !channelActions.isEmpty {
                isQuiet = false
                for action in drained(&channelActions) { perform(action) }
            }
            if !discoveryActions.isEmpty {
                isQuiet = false
                swap(&discoveryActions, &spare.discovery)
                for action in spare.discovery { perform(action) }
                spare.discovery.recycle()
            }
            if !gossipActions.isEmpty {
                isQuiet = false
                for action in drained(&gossipActions) { perform(action) }
            }
            if !auctioneerActions.isEmpty {
                isQuiet = false
                for action in drained(&auctioneerActions) { perform(action) }
            }
            if !bidderActions.isEmpty {
                isQuiet = false
                for action in drained(&bidderActions) { perform(action) }
            }
            if !ownChannels.queue.isEmpty {
                isQuiet = false
                for item in drained(&ownChannels.queue) { perform(item) }
            }
            if isQuiet { break }
            turns += 1
            // A machine that asks again and again at the same moment: the rest waits for the next event.
            if turns >= Self.turnsMax {
                assertionFailure("Peer.settle does not come to rest")
                break
            }
        }
        if let contact = discovery.takeForeign() {
            let age = turn.wall.milliseconds &- contact.issuedAt.milliseconds
            ownKeyUsed(age: .milliseconds(age), at: contact.endpoints.first)
        }
        if let (age, endpoint) = gossip.takeForeign() { ownKeyUsed(age: age, at: endpoint) }
        if leaving == .said, bidder.runningJobs.isEmpty {
            leaving = .done
            effects.append(.left)
        }
    }

    /// A record was signed with our key, and not by us. One from before our start is an earlier run's, and so is one from
    /// the future: the clock was set back since.
    private mutating func ownKeyUsed(age: Interval, at endpoint: Endpoint?) {
        let tolerance = Interval.seconds(10)
        guard age > .zero - tolerance, age < turn.monotonic - startedAt - tolerance else { return }
        if ownKeyUse == nil { effects.append(.log(.ownKeyUsed(at: endpoint))) }
        let isNews = ownKeyUse.map { turn.monotonic - $0.at > .minutes(10) } ?? true
        ownKeyUse = OwnKeyUse(endpoint: endpoint ?? ownKeyUse?.endpoint, at: turn.monotonic)
        if isNews { (ownKeyAnswerAt, ownKeyAnswersLeft) = (turn.monotonic + tolerance * 2, 2) }
    }

    /// Of two records with one key only the later one tells, if the process that reads it had begun. So the process that
    /// began later learns of the other only when that signs again, some time after it has noticed. It is told twice,
    /// since the first message opens the session and so proves nothing.
    mutating func answerOwnKey() {
        ownKeyAnswersLeft -= 1
        ownKeyAnswerAt = ownKeyAnswersLeft > 0 ? turn.monotonic + .seconds(2) : .never
        guard leaving == .no else { return }
        stateContact()
        if let endpoint = ownKeyUse?.endpoint, profile.accepts(endpoint) {
            let other = PeerAddress(key: identity.publicKey, endpoint: endpoint)
            discovery.introduce(to: other, out: &discoveryActions)
        }
    }

    private mutating func count(_ event: ClientEvent) {
        switch event {
        case .finished: counts.delivered += 1
        case .failed(let failure):
            if failure.reason == .cancelled {
                counts.cancelled += 1
            } else if failure.delivered != nil || failure.reason == .workerLost {
                counts.failed += 1
            } else {
                counts.refused += 1
            }
        // A quote is no task.
        case .awarded, .delta, .progress, .restarted, .quoted: break
        }
    }

    private mutating func perform(_ action: DiscoveryAction) {
        switch action {
        case .request(let token, let message, let peer):
            sessions.request(
                .discovery(message), to: peer, owner: .discovery(token), turn: &turn,
                out: &sessionOutput)
        case .send(let message, let peer):
            sessions.send(.discovery(message), to: peer, turn: &turn, out: &sessionOutput)
        case .admitted(let contact, let address):
            effects.append(.log(.admitted(contact.record.publicKey, address.endpoint)))
            auctioneer.heard(address.key, turn.monotonic)
            gossip.memberJoined(
                address, contact: contact, turn: &turn, out: &gossipActions)
        case .updated(let contact, let address):
            gossip.memberJoined(
                address, contact: contact, turn: &turn, out: &gossipActions)
        case .evicted(let key):
            effects.append(.log(.evicted(key)))
            gossip.memberLeft(key)
        case .lookupFinished(let token, let contacts, _):
            _ = note(token, .nearest(lookup: token, contacts))
        case .providerFound(let token, let provider):
            if !note(token, .provider(search: token, provider)) { providerFound(token, provider) }
        case .searchFinished(let token, let statistics):
            if !note(token, .over(search: token, statistics)) { providerSearchFinished(token) }
        case .joined(let contacts):
            effects.append(.log(.joined(contacts: contacts)))
        case .alone(let tried):
            effects.append(.log(.alone(tried: tried)))
        case .callBack(let address, let nonce, let channel):
            callBack(address, nonce: nonce, channel: channel)
        case .reachabilityTested(let finding):
            reachabilityTested(finding)
        case .observedEndpointChanged(let endpoint):
            endpointObserved(endpoint)
        }
    }

    private mutating func perform(_ action: GossipAction) {
        switch action {
        case .request(let token, let message, let peer):
            guard mayContact(peer) else {
                return gossip.notAsked(token, turn: &turn, out: &gossipActions)
            }
            sessions.request(
                .gossip(message), to: peer, owner: .gossip(token), turn: &turn,
                out: &sessionOutput)
        case .offerLearnt(let offer):
            effects.append(.log(.offer(offer.record.publicKey, model: offer.record.model)))
            offerLearnt(offer.record.model)
        case .offerWithdrawn(let key, let model):
            effects.append(.log(.offerGone(key, model: model, expired: false)))
            auctioneer.sellerLeft(key, turn: &turn, out: &auctioneerActions)
        case .offerExpired(let key, let model):
            effects.append(.log(.offerGone(key, model: model, expired: true)))
        case .searchFinished(let token, _):
            gossipSearchFinished(token)
        case .pullEnded(_, let model):
            pullEnded(model)
        case .sequenceUsed(let model, let sequence):
            effects.append(.keepSequence(model: model, sequence))
        case .leaveFinished:
            leaving = .said
        }
    }

    private mutating func perform(_ action: AuctioneerAction) {
        switch action {
        case .needOffers(let task, let model):
            need(task, model)
        case .request(let token, let message, let peer):
            request(token, message, to: peer)
        case .send(let message, let peer):
            if peer.key == identity.publicKey {
                _ = toBidder(message, from: peer, proven: true)
            } else {
                sessions.send(.market(message), to: peer, turn: &turn, out: &sessionOutput)
            }
        case .openChannel(let task, let attempt, let peer):
            if peer.key == identity.publicKey {
                ownChannels.dial(task, attempt: attempt)
            } else {
                let id = channels.open(to: peer, turn: &turn, out: &channelActions)
                dialling[id] = .auctioneer(task, attempt: attempt, peer)
            }
        case .sendFrame(let channel, let frame):
            if OwnChannels.isOwn(channel) {
                ownChannels.send(frame, on: channel, .toBidder)
            } else {
                send(frame, on: channel)
            }
        case .releaseChannel(let channel):
            release(channel, telling: .toBidder)
        case .closeChannel(let channel):
            close(channel, telling: .toBidder)
        case .client(let task, let event):
            count(event)
            effects.append(.client(task, event))
        case .receiptIssued(let receipt):
            effects.append(.keep(receipt))
        case .sellerJudged(let record):
            effects.append(.keepSeller(record))
        }
    }

    private mutating func perform(_ action: BidderAction) {
        switch action {
        case .startJob(let job): effects.append(.startJob(job))
        case .cancelJob(let id): effects.append(.cancelJob(id))
        case .pauseJob(let id): effects.append(.pauseJob(id))
        case .resumeJob(let id): effects.append(.resumeJob(id))
        case .sendFrame(let channel, let frame):
            if OwnChannels.isOwn(channel) {
                ownChannels.send(frame, on: channel, .toAuctioneer)
            } else {
                send(frame, on: channel)
            }
        case .openChannel(let task, let attempt, let peer):
            let id = channels.open(to: peer, turn: &turn, out: &channelActions)
            dialling[id] = .bidder(task, attempt: attempt, peer)
        case .releaseChannel(let channel):
            // On a channel to itself the auctioneer ends the task, after its last receipt.
            if !OwnChannels.isOwn(channel) { release(channel, telling: .toAuctioneer) }
        case .closeChannel(let channel):
            close(channel, telling: .toAuctioneer)
        case .receiptAccepted(let receipt):
            effects.append(.keep(receipt))
        case .declined(let buyer, let model, let reason):
            effects.append(.log(.declined(buyer: buyer, model: model, reason)))
        case .buyerJudged(let record):
            effects.append(.keepBuyer(record))
        }
    }

    private mutating func perform(_ action: ChannelAction) {
        switch action {
        case .dial(let id, let endpoint): effects.append(.dial(id, endpoint))
        case .write(let id, let bytes): effects.append(.write(id, bytes))
        case .close(let id): effects.append(.closeChannel(id))
        case .opened(let id, let peer, let inbound):
            if inbound, denied.contains(peer) { return channels.close(id, out: &channelActions) }
            if inbound, let source = channels.endpoint(of: id) {
                discovery.channelCame(from: source, turn: &turn, out: &discoveryActions)
            }
            switch dialling.removeValue(forKey: id) {
            case .auctioneer(let task, let attempt, let address):
                auctioneer.channelOpened(
                    task, attempt: attempt, channel: id, peer: address.key, turn: &turn,
                    out: &auctioneerActions)
            case .bidder(let task, let attempt, let address):
                bidder.channelOpened(
                    task, attempt: attempt, channel: id, peer: address.key, turn: &turn,
                    out: &bidderActions)
            case .test: channels.close(id, out: &channelActions)
            case nil: break
            }
        case .frame(let id, let peer, let frame):
            self.frame(frame, from: peer, on: id)
        case .failed(let id, let why):
            switch dialling.removeValue(forKey: id) {
            case .auctioneer(let task, let attempt, let address):
                auctioneer.channelFailed(
                    task, attempt: attempt, peer: address.key, wasTried: why != .limit, turn: &turn,
                    out: &auctioneerActions)
            case .bidder(let task, let attempt, let address):
                bidder.channelFailed(
                    task, attempt: attempt, peer: address.key, turn: &turn, out: &bidderActions)
            case .test: break
            case nil:
                channelFailed(id, why)
            }
        }
    }

    private mutating func perform(_ item: OwnChannels.Item) {
        switch item {
        case .opened(let channel, let task, let attempt):
            auctioneer.channelOpened(
                task, attempt: attempt, channel: channel, peer: identity.publicKey, turn: &turn,
                out: &auctioneerActions)
        case .frame(let channel, let frame, .toBidder):
            bidder.received(
                frame, from: identity.publicKey, channel: channel, turn: &turn, out: &bidderActions
            )
        case .frame(let channel, let frame, .toAuctioneer):
            auctioneer.received(
                frame, from: identity.publicKey, channel: channel, turn: &turn,
                out: &auctioneerActions)
        case .closed(let channel, .toBidder):
            bidder.channelClosed(channel, turn: &turn, out: &bidderActions)
        case .closed(let channel, .toAuctioneer):
            auctioneer.channelClosed(channel, turn: &turn, out: &auctioneerActions)
        }
    }

    private mutating func release(_ channel: ChannelID, telling side: OwnChannels.Direction) {
        if OwnChannels.isOwn(channel) {
            ownChannels.close(channel, telling: side)
        } else {
            channels.release(channel, turn: &turn, out: &channelActions)
        }
    }

    private mutating func close(_ channel: ChannelID, telling side: OwnChannels.Direction) {
        if OwnChannels.isOwn(channel) {
            ownChannels.close(channel, telling: side)
        } else {
            channels.close(channel, out: &channelActions)
        }
    }
}

/// Takes all actions out of their buffer.
private func drained<Action>(_ actions: inout [Action]) -> [Action] {
    var taken: [Action] = []
    swap(&taken, &actions)
    return taken
}
