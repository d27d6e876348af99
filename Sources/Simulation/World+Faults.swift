// Faults, and recovery from them.

import PeerCore
import Primitives

extension World {
    func happen(_ fault: Fault) {
        note("event: \(fault)")
        digest.mix(40, Int(clock & 0xffff_ffff), 0)
        switch fault {
        case .kill(let index): kill(index)
        case .powerOff(let index): end(hosts[index], .off, isReset: false)
        case .freeze(let index): freeze(hosts[index])
        case .thaw(let index): thaw(hosts[index])
        case .restart(let index): start(hosts[index])
        case .leave(let index): leave(hosts[index])
        case .partition(let indices):
            for host in hosts { host.side = 0 }
            for index in indices { hosts[index].side = 1 }
            isPartitioned = true
        case .heal:
            isPartitioned = false
            releaseHeld()
        case .backendDown(let index): setBackend(hosts[index], down: true)
        case .backendUp(let index): setBackend(hosts[index], down: false)
        case .killBusy:
            if let host = drawBusy() { kill(host.index) }
        case .freezeBusy(let time):
            guard let host = drawBusy() else { return }
            freeze(host)
            queue.push(.thaw(host: Int32(host.index)), at: clock + time.nanoseconds)
        case .fallSilent(let index): fallSilent(hosts[index])
        case .spoof(let addresses): spoof(addresses)
        case .turn(let index, let hostility): turn(hosts[index], hostility)
        }
    }

    public func kill(_ index: Int) { end(hosts[index], .dead, isReset: true) }

    /// A running node that answers others' tasks and waits for none of its own.
    private func drawBusy() -> Host? {
        let busy = hosts.filter { host in
            guard host.isSelling, let process = host.process, !host.backend.jobs.isEmpty else { return false }
            return !process.tasks.values.contains { clients[Int($0)].outcome == nil }
        }
        guard !busy.isEmpty else { return nil }
        let host = busy[faultRandom.below(busy.count)]
        note("it hits \(host.plan.name)")
        return host
    }

    private func fallSilent(_ host: Host) {
        host.isSilent = true
        for (_, client) in (host.process?.tasks ?? [:]).sorted(by: { $0.value < $1.value }) {
            askerLost(client)
        }
    }

    func freeze(_ host: Host) {
        guard host.state == .running else { return }
        host.state = .frozen
    }

    /// Thaws the process: it first reads what its sockets hold, and only then do timers fire, as in `Node`.
    func thaw(_ host: Host) {
        guard host.state == .frozen, let process = host.process else { return }
        host.state = .running
        if process.armedAt <= clock {
            if clock - process.armedAt > Self.stallMin {
                process.stoodStillSince = process.armedAt
                queue.push(.caughtUp(host: Int32(host.index)), at: clock + Self.catchUp)
            } else {
                queue.push(.wake(host: Int32(host.index)), at: clock)
                process.armedAt = clock
            }
        }
        let inbox = process.inbox
        process.inbox = []
        process.inboxDatagrams = 0
        for event in inbox {
            if host.process === process { dispatch(event) } else { discard(event) }
        }
    }

    private static let stallMin: Int64 = 500_000_000
    private static let catchUp: Int64 = 20_000_000

    func caughtUp(_ host: Host) {
        guard host.state == .running, let process = host.process, let since = process.stoodStillSince else {
            return
        }
        process.stoodStillSince = nil
        process.armedAt = .max
        process.peer.wasStalled(for: Interval(nanoseconds: clock - since), now: now(host))
        process.peer.tick(now: now(host))
        flush(host, process)
    }

    /// Releases an event that waited for a process that has ended.
    func discard(_ event: Event) {
        switch event {
        case .datagram(let slot, _, _, _): release(slot)
        case .submit(let client): dispatch(.submit(client: client))
        default: break
        }
    }

    /// Sends every recorded handshake again, from each of `addresses` unused addresses.
    private func spoof(_ addresses: Int) {
        for (bytes, to) in recorded {
            for index in 0..<addresses {
                let from = Int32(hosts.count + index)
                bytes.withUnsafeBytes { send($0, from: from, to: to) }
            }
        }
    }
}
