// The carrier of channels: reliable ordered byte streams. Connecting takes one round trip; each direction is
// FIFO; an end is seen after everything written before it. The kernel of a frozen process accepts and
// buffers; a machine that is gone or cut off is silent.

import PeerCore
import Primitives
import Sessions

extension World {
    /// The shell gives up dialling after this.
    private static let dialTimeout: Int64 = 3_000_000_000
    /// The kernel gives up a peer that is silent for this long with unacknowledged data. Linux takes 15
    /// minutes; the protocol must not depend on it.
    private static let silentCloseAfter: Int64 = 60_000_000_000

    func dial(_ channel: ChannelID, _ endpoint: Endpoint, _ host: Host, _ process: NodeProcess) {
        let id = Int32(streams.count)
        let acceptor = self.host(at: endpoint)
        streams.append(
            Stream(
                ends: (
                    Stream.End(
                        host: Int32(host.index), incarnation: process.incarnation, channel: channel,
                        isOpen: true),
                    Stream.End(
                        host: Int32(acceptor?.index ?? -1), incarnation: 0, channel: nil, isOpen: false)
                )))
        process.channels[channel] = id
        counts.streams += 1
        if let acceptor, !isCut(host, acceptor) {
            queue.push(.connect(stream: id), at: clock + links.segment(host.index, acceptor.index, bytes: 0))
        } else {
            queue.push(.dialFailed(stream: id), at: clock + Self.dialTimeout)
        }
    }

    private func isCut(_ a: Host, _ b: Host) -> Bool { isPartitioned && a.side != b.side }

    /// The connection request reaches the acceptor's machine.
    func connect(_ id: Int32) {
        let dialler = hosts[Int(streams[Int(id)].ends.dialler.host)]
        let acceptor = hosts[Int(streams[Int(id)].ends.acceptor.host)]
        digest.mix(5, dialler.index, acceptor.index)
        if acceptor.state == .off || acceptor.state == .planned || acceptor.isSilent
            || acceptor.plan.nat != .none || isCut(dialler, acceptor)
        {
            queue.push(.dialFailed(stream: id), at: clock + Self.dialTimeout)
            return
        }
        let back = clock + links.segment(acceptor.index, dialler.index, bytes: 0)
        guard let process = acceptor.process, acceptor.plan.acceptsInbound else {
            queue.push(.dialFailed(stream: id), at: back)
            return
        }
        streams[Int(id)].isConnected = true
        streams[Int(id)].ends.acceptor.incarnation = process.incarnation
        streams[Int(id)].ends.acceptor.isOpen = true
        streams[Int(id)].lastArrival.toDialler = back
        queue.push(.connected(stream: id), at: back)
        dispatch(.accepted(stream: id))
    }

    func accepted(_ id: Int32, _ event: Event) {
        let stream = streams[Int(id)]
        guard stream.ends.acceptor.isOpen,
            let (host, process) = listening(stream.ends.acceptor, event)
        else { return }
        var source = Self.endpoint(stream.ends.dialler.host)
        source.port = 32_768 + UInt16(id % 28_000)
        if let channel = process.peer.channelAccepted(from: source, now: now(host)) {
            streams[Int(id)].ends.acceptor.channel = channel
            process.channels[channel] = id
        } else {
            streams[Int(id)].ends.acceptor.isOpen = false
            ship(id, .close, .toDialler)
        }
        flush(host, process)
    }

    func connected(_ id: Int32, _ event: Event) {
        let end = streams[Int(id)].ends.dialler
        guard end.isOpen, let channel = end.channel, let (host, process) = listening(end, event) else {
            return
        }
        process.peer.channelConnected(channel, now: now(host))
        flush(host, process)
    }

    func dialFailed(_ id: Int32, _ event: Event) {
        let end = streams[Int(id)].ends.dialler
        guard end.isOpen, let channel = end.channel, let (host, process) = listening(end, event) else {
            return
        }
        streams[Int(id)].ends.dialler.isOpen = false
        process.channels[channel] = nil
        process.peer.channelClosed(channel, now: now(host))
        flush(host, process)
    }

    func write(_ channel: ChannelID, _ bytes: [UInt8], _ host: Host, _ process: NodeProcess) {
        guard let id = process.channels[channel] else { return }
        let direction = direction(of: id, host, channel)
        host.traffic.streamBytesSent += bytes.count
        counts.streamBytes += bytes.count
        ship(id, .bytes(bytes), direction)
        process.peer.channelWritten(channel, bytes: bytes.count, now: now(host))
    }

    private func direction(of id: Int32, _ host: Host, _ channel: ChannelID) -> Event.Direction {
        let dialler = streams[Int(id)].ends.dialler
        return dialler.host == Int32(host.index) && dialler.channel == channel ? .toAcceptor : .toDialler
    }

    /// This end is closed; the other end learns of it after everything in flight, or never.
    func closeStream(_ id: Int32, _ channel: ChannelID, isReset: Bool) {
        let dialler = streams[Int(id)].ends.dialler
        let end =
            dialler.channel == channel && hosts[Int(dialler.host)].process?.channels[channel] == id
            ? dialler : streams[Int(id)].ends.acceptor
        let direction: Event.Direction =
            end.host == dialler.host && end.channel == dialler.channel ? .toAcceptor : .toDialler
        hosts[Int(end.host)].process?.channels[channel] = nil
        streams[Int(id)].closeEnd(sendingIn: direction)
        guard streams[Int(id)].isConnected else { return }
        if isReset {
            ship(id, .close, direction)
        } else {
            streams[Int(id)].push(.close, direction)
            let at = streams[Int(id)].arrival(clock + Self.silentCloseAfter, direction)
            queue.push(.stream(id, direction), at: at)
        }
    }

    private func ship(_ id: Int32, _ parcel: Stream.Parcel, _ direction: Event.Direction) {
        let sender = streams[Int(id)].sender(direction).host
        let receiver = streams[Int(id)].receiver(direction).host
        streams[Int(id)].push(parcel, direction)
        if isCut(hosts[Int(sender)], hosts[Int(receiver)]) || streams[Int(id)].isHeld(direction) {
            return streams[Int(id)].hold(direction)
        }
        var size = 0
        if case .bytes(let bytes) = parcel { size = bytes.count }
        let delay = links.segment(Int(sender), Int(receiver), bytes: size)
        queue.push(.stream(id, direction), at: streams[Int(id)].arrival(clock + delay, direction))
    }

    /// Resends what waited for a partition to heal.
    func releaseHeld() {
        for id in streams.indices {
            for direction in [Event.Direction.toAcceptor, .toDialler] where streams[id].isHeld(direction) {
                let count =
                    direction == .toAcceptor ? streams[id].held.toAcceptor : streams[id].held.toDialler
                let from = Int(streams[id].sender(direction).host)
                let to = Int(streams[id].receiver(direction).host)
                let at = streams[id].arrival(
                    clock + links.segment(from, to, bytes: 0) + 200_000_000, direction)
                for _ in 0..<count { queue.push(.stream(Int32(id), direction), at: at) }
                if direction == .toAcceptor {
                    streams[id].held.toAcceptor = 0
                } else {
                    streams[id].held.toDialler = 0
                }
            }
        }
    }

    func arrive(_ id: Int32, _ direction: Event.Direction, _ event: Event) {
        let end = streams[Int(id)].receiver(direction)
        guard end.isOpen, !hosts[Int(end.host)].isSilent else {
            _ = streams[Int(id)].pop(direction)
            return
        }
        guard let (host, process) = listening(end, event) else { return }
        guard let parcel = streams[Int(id)].pop(direction), let channel = end.channel else { return }
        digest.mix(6, host.index, Int(truncatingIfNeeded: channel.rawValue))
        digest.mix(UInt64(bitPattern: clock))
        switch parcel {
        case .bytes(let bytes):
            bytes.withUnsafeBytes { buffer in
                digest.mixEnds(buffer)
                process.peer.channelReceived(channel, buffer, now: now(host))
            }
        case .close:
            streams[Int(id)].closeEnd(receivingIn: direction)
            process.channels[channel] = nil
            process.peer.channelClosed(channel, now: now(host))
        }
        flush(host, process)
    }

    /// The process at that end, if it exists and runs; if it is frozen, its kernel keeps the event.
    private func listening(_ end: Stream.End, _ event: Event) -> (Host, NodeProcess)? {
        let host = hosts[Int(end.host)]
        guard let process = host.process, process.incarnation == end.incarnation else { return nil }
        if host.state == .frozen {
            process.inbox.append(event)
            return nil
        }
        return (host, process)
    }
}
