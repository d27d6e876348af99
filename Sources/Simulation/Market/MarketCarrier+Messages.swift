// Requests, one-way messages and channels between the markets' nodes.

import Market
import Primitives
import Wire

extension MarketCarrier {
    /// When the request is sent again after a lost datagram, and when it is given up; `Sessions` adapts both
    /// to the round trip.
    private static let tries: [Int64] = [0, 150_000_000, 450_000_000]
    private static let giveUp: Int64 = 1_000_000_000

    func perform(_ action: AuctioneerAction, _ node: MarketNode) {
        switch action {
        case .needOffers(let task, _): node.answerNeed(task)
        case .request(let token, let message, let peer):
            request(token, message, node, MarketNode.index(of: peer))
        case .send(let message, let peer):
            let to = MarketNode.index(of: peer)
            guard let delay = links.datagram(Int(node.index), Int(to)).first else { return }
            post(.notice(message, from: node.index, to: to), at: clock + delay)
        case .openChannel(let task, let attempt, let peer):
            dial(MarketDial(task: task, attempt: attempt, isBuyers: true), node, MarketNode.index(of: peer))
        case .sendFrame(let channel, let frame): send(frame, channel, node)
        case .releaseChannel(let channel): release(channel, node)
        case .closeChannel(let channel): close(channel, node)
        case .client(let task, let event): client(task, event, node)
        case .receiptIssued(let receipt): node.balance.add(receipt.record)
        case .sellerJudged: break
        }
    }

    func perform(_ action: BidderAction, _ node: MarketNode) {
        switch action {
        case .startJob(let job): start(job, node)
        case .cancelJob(let id): node.jobs[id] = nil
        case .pauseJob(let id): pause(id, true, node)
        case .resumeJob(let id): pause(id, false, node)
        case .sendFrame(let channel, let frame): send(frame, channel, node)
        case .openChannel(let task, let attempt, let peer):
            dial(MarketDial(task: task, attempt: attempt, isBuyers: false), node, MarketNode.index(of: peer))
        case .releaseChannel(let channel): release(channel, node)
        case .closeChannel(let channel): close(channel, node)
        case .receiptAccepted(let receipt): node.balance.add(receipt.record)
        case .declined, .buyerJudged: break
        }
    }

    func arrive(_ letter: Letter) {
        switch letter {
        case .request(let message, let token, let from, let to, let sentAt):
            let node = begin(to)
            mix(3, from, to)
            if let answer = node.handle(message, from: nodes[Int(from)]) {
                if let delay = delay(from: to, to: from) {
                    post(.answer(answer, token, from: to, to: from, sentAt: sentAt), at: clock + delay)
                } else {
                    post(.noAnswer(token, to: from), at: max(clock, sentAt + Self.giveUp))
                }
            }
            settle(node)
        case .answer(let message, let token, let from, let to, let sentAt):
            let node = begin(to)
            mix(4, from, to)
            node.answered(token, message, from: nodes[Int(from)], after: clock - sentAt)
            settle(node)
        case .noAnswer(let token, let to):
            let node = begin(to)
            mix(5, to, to)
            node.unanswered(token)
            settle(node)
        case .notice(let message, let from, let to):
            let node = begin(to)
            mix(6, from, to)
            _ = node.handle(message, from: nodes[Int(from)])
            settle(node)
        case .opened(let dial, let channel):
            let (from, to) = (channels[Int(channel)].dialler, channels[Int(channel)].acceptor)
            let node = begin(from)
            mix(7, from, to)
            node.channelOpened(dial, Self.id(channel), to: nodes[Int(to)])
            settle(node)
        case .frame(let frame, let channel, let to):
            guard channels[Int(channel)].isOpen else { return }
            let node = begin(to)
            mix(8, channel, to)
            let from = channels[Int(channel)].other(than: to)
            node.received(frame, from: nodes[Int(from)], on: Self.id(channel))
            settle(node)
        case .closed(let channel, let to):
            let node = begin(to)
            mix(9, channel, to)
            node.channelClosed(Self.id(channel))
            settle(node)
        }
    }

    private func mix(_ kind: UInt8, _ a: Int32, _ b: Int32) {
        run.digest.mix(kind, Int(a), Int(b))
        run.digest.mix(UInt64(bitPattern: clock))
    }

    // MARK: Datagrams

    private func request(_ token: RequestToken, _ message: MarketMessage, _ node: MarketNode, _ to: Int32) {
        if case .callForBids = message { run.messages += 1 }
        if let delay = delay(from: node.index, to: to) {
            post(
                .request(message, token, from: node.index, to: to, sentAt: clock), at: clock + delay)
        } else {
            post(.noAnswer(token, to: node.index), at: clock + Self.giveUp)
        }
    }

    /// The delay of a message that is repeated when lost; nil: all its datagrams are lost.
    private func delay(from: Int32, to: Int32) -> Int64? {
        for wait in Self.tries {
            if let delay = links.datagram(Int(from), Int(to)).first { return wait + delay }
        }
        return nil
    }

    // MARK: Channels

    private static func id(_ channel: Int32) -> ChannelID { ChannelID(rawValue: UInt64(channel)) }
    private static func place(_ id: ChannelID) -> Int32 { Int32(id.rawValue) }

    /// Uses an idle channel to that node at once, or opens a new one after one round trip.
    private func dial(_ dial: MarketDial, _ node: MarketNode, _ to: Int32) {
        while let channel = node.idle[to]?.popLast() {
            guard channels[Int(channel)].isOpen else { continue }
            return post(.opened(dial, channel: channel), at: clock)
        }
        channels.append(Channel(dialler: node.index, acceptor: to))
        let way =
            links.segment(Int(node.index), Int(to), bytes: 0)
            + links.segment(Int(to), Int(node.index), bytes: 0)
        post(.opened(dial, channel: Int32(channels.count - 1)), at: clock + way)
    }

    private func send(_ frame: Frame, _ id: ChannelID, _ node: MarketNode) {
        let place = Self.place(id)
        guard channels[Int(place)].isOpen else { return }
        let to = channels[Int(place)].other(than: node.index)
        post(.frame(frame, channel: place, to: to), at: arrival(place, from: node.index, to: to))
    }

    private func arrival(_ place: Int32, from: Int32, to: Int32) -> Int64 {
        let at = clock + links.segment(Int(from), Int(to), bytes: 0)
        if channels[Int(place)].dialler == from {
            channels[Int(place)].arrivals.toAcceptor = max(at, channels[Int(place)].arrivals.toAcceptor)
            return channels[Int(place)].arrivals.toAcceptor
        }
        channels[Int(place)].arrivals.toDialler = max(at, channels[Int(place)].arrivals.toDialler)
        return channels[Int(place)].arrivals.toDialler
    }

    /// Only the node that dialled a channel reuses it.
    private func release(_ id: ChannelID, _ node: MarketNode) {
        let channel = channels[Int(Self.place(id))]
        guard channel.isOpen, channel.dialler == node.index else { return }
        node.idle[channel.acceptor, default: []].append(Self.place(id))
    }

    private func close(_ id: ChannelID, _ node: MarketNode) {
        let place = Self.place(id)
        guard channels[Int(place)].isOpen else { return }
        let to = channels[Int(place)].other(than: node.index)
        let at = arrival(place, from: node.index, to: to)
        channels[Int(place)].isOpen = false
        post(.closed(channel: place, to: to), at: at)
    }
}
