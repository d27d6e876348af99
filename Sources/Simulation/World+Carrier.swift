// Datagrams: from a node's slab into the pool, through the links, to the receiver, which opens them in place.

import PeerCore
import Primitives
import Sessions

extension World {
    func sendDatagrams(_ host: Host, _ process: NodeProcess) {
        process.peer.takeDatagrams { sendAll($0, host, process) }
    }

    private func sendAll(_ datagrams: DatagramSlab, _ host: Host, _ process: NodeProcess) {
        for index in 0..<datagrams.count {
            datagrams.withDatagram(index) { bytes, endpoint in
                host.traffic.datagramsSent += 1
                host.traffic.datagramBytesSent += bytes.count
                counts.datagrams += 1
                counts.datagramBytes += bytes.count
                digest.mix(3, host.index, bytes.count)
                digest.mixEnds(bytes)
                guard let to = address(of: endpoint) else { return }
                let excess = process.paths.sent(bytes, to: to)
                if excess > 0 {
                    violate(
                        .outNotOverIn, host: host,
                        "\(excess) bytes too many to \(endpoint), which never proved itself")
                }
                if recordsHandshakes, bytes.first == 1 { record(bytes, to) }
                let from = translators.leaving(Int32(host.index), host.plan.nat, to: to, at: clock)
                if overhears { overhear(bytes, from, to) }
                send(bytes, from: from, to: to)
            }
        }
    }

    /// Sends a datagram from a separate port.
    func sendApart(_ bytes: [UInt8], to endpoint: Endpoint, _ host: Host) {
        guard !host.callsNobody else { return }
        host.traffic.datagramsSent += 1
        host.traffic.datagramBytesSent += bytes.count
        counts.datagrams += 1
        counts.datagramBytes += bytes.count
        guard let to = address(of: endpoint) else { return }
        let from = translators.leavingApart(Int32(host.index), host.plan.nat, at: clock)
        bytes.withUnsafeBytes { send($0, from: from, to: to) }
    }

    /// Sends a datagram between two addresses: it arrives once, twice or never. `isForged` says that it has a
    /// forged source.
    func send(_ bytes: UnsafeRawBufferPointer, from: Int32, to: Int32, isForged: Bool = false) {
        let (sender, target) = (Int(translators.machine(of: from)), Int(translators.machine(of: to)))
        let receiver = hosts.indices.contains(target) ? hosts[target] : nil
        if isPartitioned, let receiver, hosts.indices.contains(sender), hosts[sender].side != receiver.side {
            counts.cutOff += 1
            return
        }
        let copies = links.datagram(sender, target)
        if copies.isDoubled {
            counts.duplicated += 1
            fly(bytes, from, to, receiver, copies.second, isForged)
        }
        fly(bytes, from, to, receiver, copies.first, isForged)
    }

    private func fly(
        _ bytes: UnsafeRawBufferPointer, _ from: Int32, _ to: Int32, _ receiver: Host?, _ delay: Int64?,
        _ isForged: Bool
    ) {
        guard let delay else {
            counts.lost += 1
            return
        }
        guard receiver != nil else {
            counts.unheard += 1
            return
        }
        let slot = pool.store(bytes)
        if isForged || Int(from) >= hosts.count { forged.insert(slot) }
        queue.push(.datagram(slot: slot, length: Int32(bytes.count), to: to, from: from), at: clock + delay)
    }

    func arrive(_ slot: Int32, _ length: Int32, to: Int32, from: Int32) {
        if to < 0, !translators.admits(to, from: from, at: clock) {
            release(slot)
            counts.filtered += 1
            return
        }
        if translators.isApart(to) {
            release(slot)
            counts.unheard += 1
            return
        }
        let host = hosts[Int(translators.machine(of: to))]
        if let impostor = host.impostor {
            hear(host, impostor, pool.bytes(slot, length), from: from)
            return release(slot)
        }
        guard let process = host.process, !host.isSilent else {
            release(slot)
            counts.unheard += 1
            return
        }
        if host.state == .frozen {
            guard process.inboxDatagrams < NodeProcess.socketDatagramsMax else {
                release(slot)
                counts.socketFull += 1
                return
            }
            process.inboxDatagrams += 1
            let event = Event.datagram(slot: slot, length: length, to: Int32(host.index), from: from)
            process.inbox.append(event)
            return
        }
        receive(slot, length, from, host, process)
    }

    func receive(_ slot: Int32, _ length: Int32, _ from: Int32, _ host: Host, _ process: NodeProcess) {
        let bytes = pool.bytes(slot, length)
        counts.delivered += 1
        host.traffic.datagramsReceived += 1
        digest.mix(4, host.index, Int(from))
        digest.mix(UInt64(bitPattern: clock))
        digest.mixEnds(UnsafeRawBufferPointer(bytes))
        process.paths.received(bytes, from: from, isGenuine: !forged.contains(slot))
        process.peer.receive(bytes, from: endpoint(of: from), now: now(host))
        release(slot)
        flush(host, process)
    }

    func release(_ slot: Int32) {
        forged.remove(slot)
        pool.release(slot)
    }

    /// Kept for attackers that send recorded handshakes again.
    private func record(_ bytes: UnsafeRawBufferPointer, _ to: Int32) {
        if recorded.count >= Self.recordedMax { recorded.removeFirst() }
        recorded.append((Array(bytes), to))
    }

    private static let recordedMax = 256
}
