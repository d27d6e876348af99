import Discovery
import Market
import Primitives
import Sessions
import Wire

// What comes in from the shell. Each call ends with `settle`, after which the outputs are to be drained.
extension Peer {
    // MARK: Network

    /// A datagram; opened in place. Afterwards the bytes are garbage.
    public mutating func receive(_ datagram: UnsafeMutableRawBufferPointer, from source: Endpoint, now: Now) {
        if let incoming = sessions.receive(
            datagram, from: source, now: now, random: &random, out: &sessionOutput)
        {
            route(incoming, now)
        }
        settle(now)
    }

    /// Somebody connected; nil: refused, close it.
    public mutating func channelAccepted(from source: Endpoint, now: Now) -> ChannelID? {
        let id = channels.accept(from: source, now: now, out: &channelActions)
        settle(now)
        return id
    }

    public mutating func channelConnected(_ id: ChannelID, now: Now) {
        channels.connected(id, now: now, out: &channelActions)
        settle(now)
    }

    public mutating func channelReceived(_ id: ChannelID, _ bytes: UnsafeRawBufferPointer, now: Now) {
        channels.received(id, bytes, now: now, out: &channelActions)
        settle(now)
    }

    public mutating func channelWritten(_ id: ChannelID, bytes: Int) { channels.written(id, bytes: bytes) }

    public mutating func channelClosed(_ id: ChannelID, now: Now) {
        channels.closed(id, now: now, out: &channelActions)
        settle(now)
    }

    // MARK: Clients

    /// Starts a client's task; its events follow as `Effect.client`.
    public mutating func submit(_ request: TaskRequest, now: Now) -> TaskID {
        let task = buy(now) { $0.submit(request, turn: &$1, out: &$2) }
        settle(now)
        return task
    }

    /// The client has gone.
    public mutating func cancel(_ task: TaskID, now: Now) {
        buy(now) { $0.cancel(task, turn: &$1, out: &$2) }
        settle(now)
    }

    /// The client took so many bytes of text and extra.
    public mutating func consumed(_ task: TaskID, bytes: UInt64, now: Now) {
        buy(now) { $0.consumed(task, bytes: bytes, turn: &$1, out: &$2) }
        settle(now)
    }

    /// The shell's loop did nothing for so long, and has read its sockets since.
    public mutating func wasStalled(for gap: Interval, now: Now) {
        buy(now) { $0.loopWasStalled(turn: &$1, out: &$2) }
        settle(now)
    }

    // MARK: Serving

    /// Replaces what this node sells. Offers follow where something that an offer states has changed; what is merely
    /// paused or down stays on offer, and bids are declined with the reason.
    public mutating func serve(_ models: [ServedModel], now: Now) {
        let gone = served.filter { old in !models.contains { $0.model == old.model } }
        served = models
        bidder.setServed(models)
        for model in gone {
            gossip.withdraw(model: model.model, now: now, random: &random, out: &gossipActions)
            withdrawTopic(model.model, now)
        }
        announceServed(now)
        registerServed(now)
        settle(now)
    }

    /// What the driver reports of a job.
    public mutating func job(_ id: JobID, _ event: JobEvent, now: Now) {
        sell(now) { $0.jobEvent(id, event, turn: &$1, out: &$2) }
        settle(now)
    }

    // MARK: Leaving

    /// Takes the leave: no new bids, offers withdrawn and everybody told. Running work goes on until `handOver`;
    /// `Effect.left` comes when everybody was told and nothing runs.
    public mutating func leave(now: Now) {
        guard leaving == .no else { return }
        leaving = .saying
        bidder.leave()
        for model in served { withdrawTopic(model.model, now) }
        let others = discovery.contacts.map { PeerAddress(key: $0.publicKey, endpoint: $0.address) }
        // Also those who never bought or sold anything here.
        discovery.leave(contact(.outbound, [], now), out: &discoveryActions)
        gossip.leave(alsoTo: others, now: now, random: &random, out: &gossipActions)
        settle(now)
    }

    /// Ends what still runs: the buyers go on elsewhere.
    public mutating func handOver(now: Now) {
        sell(now) { $0.handOver(turn: &$1, out: &$2) }
        settle(now)
    }

    func offerSequence(_ model: String) -> UInt64 {
        offerSequences.first { $0.model == model }?.sequence ?? 0
    }

    mutating func announceServed(_ now: Now) {
        guard leaving == .no else { return }
        for model in served {
            let offer = Offer(
                publicKey: identity.publicKey, model: model.model, digest: model.digest,
                digestSource: model.digestSource,
                quantization: model.quantization, context: model.context, features: model.features,
                continues: model.continues,
                price: model.price, slots: UInt32(clamping: model.slots), speed: model.speed,
                endpoints: Array(endpoints.prefix(2)), reachability: reachability, name: name,
                sequence: offerSequence(model.model))
            gossip.announce(offer, now: now, random: &random, out: &gossipActions)
        }
    }
}
