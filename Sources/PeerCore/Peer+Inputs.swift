import Discovery
import Market
import Primitives
import Sessions
import Wire

// Inputs from the shell. Each call ends with `settle`, which leaves the outputs ready to be drained.
extension Peer {
    // MARK: Network

    /// Handles a datagram, opened in place; its bytes are garbage afterwards.
    public mutating func receive(_ datagram: UnsafeMutableRawBufferPointer, from source: Endpoint, now: Now) {
        turn.now = now
        if let incoming = sessions.receive(
            datagram, from: source, turn: &turn, out: &sessionOutput)
        {
            route(incoming)
        }
        settle()
    }

    /// A connection came in; nil: refused, close it.
    public mutating func channelAccepted(from source: Endpoint, now: Now) -> ChannelID? {
        turn.now = now
        let id = channels.accept(from: source, turn: &turn, out: &channelActions)
        settle()
        return id
    }

    public mutating func channelConnected(_ id: ChannelID, now: Now) {
        turn.now = now
        channels.connected(id, turn: &turn, out: &channelActions)
        settle()
    }

    public mutating func channelReceived(_ id: ChannelID, _ bytes: UnsafeRawBufferPointer, now: Now) {
        turn.now = now
        channels.received(id, bytes, turn: &turn, out: &channelActions)
        settle()
    }

    /// The shell could not dial: it has no file descriptor left, or the like.
    public mutating func channelNotDialled(_ id: ChannelID, now: Now) {
        turn.now = now
        channels.closed(id, .limit, turn: &turn, out: &channelActions)
        settle()
    }

    public mutating func channelWritten(_ id: ChannelID, bytes: Int, now: Now) {
        channels.written(id, bytes: bytes, now: now.monotonic)
    }

    public mutating func channelClosed(_ id: ChannelID, now: Now) {
        turn.now = now
        channels.closed(id, turn: &turn, out: &channelActions)
        settle()
    }

    // MARK: Clients

    /// Starts a client's task; its events follow as `Effect.client`.
    public mutating func submit(_ request: TaskRequest, now: Now) -> TaskID {
        turn.now = now
        let task = auctioneer.submit(request, turn: &turn, out: &auctioneerActions)
        settle()
        return task
    }

    /// The client has disconnected.
    public mutating func cancel(_ task: TaskID, now: Now) {
        turn.now = now
        auctioneer.cancel(task, turn: &turn, out: &auctioneerActions)
        settle()
    }

    /// The client took this many bytes of text and extra.
    public mutating func consumed(_ task: TaskID, bytes: UInt64, now: Now) {
        turn.now = now
        auctioneer.consumed(task, bytes: bytes, turn: &turn, out: &auctioneerActions)
        settle()
    }

    /// The shell's loop did nothing for `gap`, and has read its sockets since.
    public mutating func wasStalled(for gap: Interval, now: Now) {
        wasDisturbed(now: now)
        auctioneer.loopWasStalled(turn: &turn, out: &auctioneerActions)
        settle()
    }

    /// The shell's loop ran late, or its socket dropped datagrams of ours: the silence of other nodes until now
    /// proves nothing, and none is blamed for it.
    public mutating func wasDisturbed(now: Now) {
        turn.now = now
        sessions.wasDisturbed(now.monotonic)
        auctioneer.wasDisturbed(now.monotonic)
    }

    // MARK: Serving

    /// Replaces what this node sells. Offers follow where something that an offer states has changed. A model
    /// that is only paused or down stays on offer; calls for bids on it are declined with the reason.
    public mutating func serve(_ models: [ServedModel], now: Now) {
        turn.now = now
        let gone = presence.serve(models)
        bidder.setServed(models)
        noteTraded()
        for model in gone {
            gossip.withdraw(model: model, turn: &turn, out: &gossipActions)
            withdrawTopic(model)
        }
        announceServed()
        registerServed()
        settle()
    }

    /// The driver's report on a job.
    public mutating func job(_ id: JobID, _ event: JobEvent, now: Now) {
        turn.now = now
        bidder.jobEvent(id, event, turn: &turn, out: &bidderActions)
        settle()
    }

    // MARK: Leaving

    /// Starts an orderly departure: no new bids, offers withdrawn, every known node told. Running work goes
    /// on until `handOver`; `Effect.left` comes when all have been told and nothing runs.
    public mutating func leave(now: Now) {
        turn.now = now
        guard leaving == .no else { return }
        leaving = .saying
        bidder.leave()
        for model in presence.served { withdrawTopic(model.model) }
        let others = discovery.contacts.map { PeerAddress(key: $0.publicKey, endpoint: $0.address) }
        // Includes contacts that never bought or sold anything here.
        discovery.leave(presence.farewell(at: turn.wall), out: &discoveryActions)
        gossip.leave(alsoTo: others, turn: &turn, out: &gossipActions)
        settle()
    }

    /// Ends what still runs: the buyers continue with other sellers.
    public mutating func handOver(now: Now) {
        turn.now = now
        bidder.handOver(turn: &turn, out: &bidderActions)
        settle()
    }
}
