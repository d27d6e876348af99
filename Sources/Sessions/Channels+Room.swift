import Primitives

/// Room for newcomers: which channels give way, and whose queued bytes.
///
/// The channels of tasks are never closed for another. All others are *spare*: inbound handshakes, and idle
/// channels. When a bound is met, one of the most crowded source gives way, so that a flood closes its own.
extension Channels {
    /// Draws for a victim: with eight, a source that has one channel in a hundred is hardly ever hit.
    private static let draws = 8

    /// The source by which idle accepted channels are counted: the prefix; the key where all addresses are of
    /// one network, because the port of an accepted connection means nothing.
    private func source(_ entry: Entry) -> UInt64 {
        let isLocal = limits.countsEndpoints || entry.endpoint.isLoopback
        return isLocal ? entry.peer?.value.w0 ?? 0 : entry.endpoint.prefix
    }

    // MARK: - Admission

    /// Whether a stranger's connection may be accepted. Our own dials keep a share of the table.
    mutating func hasRoomToAccept(_ turn: inout Turn, _ out: inout [ChannelAction]) -> Bool {
        if handshaking >= limits.handshaking {
            guard let crowded = crowded(&turn.random, { $0.phase == .handshaking }) else { return false }
            end(crowded, nil, &out)
        }
        guard inbound >= limits.accepted || entries.count >= limits.channels else { return true }
        guard let crowded = crowded(&turn.random, { $0.isInbound }) else { return false }
        end(crowded, nil, &out)
        return true
    }

    /// Whether a channel for a task of ours may be dialled.
    mutating func hasRoomToDial(_ turn: inout Turn, _ out: inout [ChannelAction]) -> Bool {
        guard entries.count >= limits.channels else { return true }
        guard let crowded = crowded(&turn.random, { _ in true }) else { return false }
        end(crowded, nil, &out)
        return true
    }

    /// Of some spare channels drawn at random, the oldest of those whose source has the most.
    private func crowded(_ random: inout SeededRandom, _ isMeant: (Entry) -> Bool) -> ChannelID? {
        guard !spares.isEmpty else { return nil }
        var best: (id: ChannelID, crowd: Int)?
        var draws = 0
        while draws < Self.draws || (best == nil && draws < 16 * Self.draws) {
            draws += 1
            let id = spares[random.below(spares.count)]
            guard let entry = entries[id], isMeant(entry) else { continue }
            let crowd = crowd(of: entry)
            if crowd > best?.crowd ?? -1 || crowd == best?.crowd && id.rawValue < best?.id.rawValue ?? 0 {
                best = (id, crowd)
            }
        }
        return best?.id
    }

    private func crowd(of entry: Entry) -> Int {
        switch entry.phase {
        case .handshaking:
            handshakingGroups.count(entry.endpoint.group(countsEndpoints: limits.countsEndpoints))
        case .idle where entry.isInbound: idleGroups.count(source(entry))
        case .idle, .dialling, .busy: entry.peer.flatMap { pool[$0]?.count } ?? 0
        }
    }

    // MARK: - Idle channels

    /// An accepted channel carries no task. Too many of its key or of its source: another of them is closed.
    mutating func becomeIdle(_ id: ChannelID, _ turn: inout Turn, _ out: inout [ChannelAction]) {
        guard let entry = entries[id], let peer = entry.peer else { return }
        let (key, source, number) = (peer.value.w0, source(entry), UInt32(truncatingIfNeeded: id.rawValue))
        if idleKeys.count(key) >= limits.idlePerKey, let other = idleKeys.draw(key, &turn.random) {
            end(whole(other), nil, &out)
        }
        if idleGroups.count(source) >= limits.idlePerGroup,
            let other = idleGroups.draw(source, &turn.random)
        {
            end(whole(other), nil, &out)
        }
        entries[id]?.phase = .idle
        idleKeys.insert(number, key)
        idleGroups.insert(number, source)
        becomeSpare(id)
        timers.set(id, at: turn.monotonic + limits.idleMax + limits.idleMax / 2)
    }

    /// A channel that we dialled carries no task.
    mutating func becomePooled(_ id: ChannelID, _ now: MonotonicTime, _ out: inout [ChannelAction]) {
        guard let peer = entries[id]?.peer else { return }
        entries[id]?.phase = .idle
        pool[peer, default: []].append(id)
        pooledCount += 1
        becomeSpare(id)
        timers.set(id, at: now + limits.idleMax)
        let allowed = pooledCount > limits.idleInAll ? limits.idlePerPeerCrowded : limits.idlePerPeer
        if let all = pool[peer], all.count > allowed, let oldest = all.first { end(oldest, nil, &out) }
    }

    /// An idle channel gets a task, or ends. Does nothing for another.
    mutating func leaveIdle(_ id: ChannelID) {
        guard let entry = entries[id], entry.phase == .idle, let peer = entry.peer else { return }
        leaveSpares(id)
        if entry.isInbound {
            let number = UInt32(truncatingIfNeeded: id.rawValue)
            idleKeys.remove(number, peer.value.w0)
            idleGroups.remove(number, source(entry))
        } else if let position = pool[peer]?.firstIndex(of: id) {
            pool[peer]?.remove(at: position)
            pooledCount -= 1
            if pool[peer]?.isEmpty == true { pool[peer] = nil }
        }
    }

    mutating func leaveHandshake(_ id: ChannelID, _ entry: Entry) {
        guard entry.isInbound, entry.phase == .handshaking else { return }
        leaveSpares(id)
        handshaking -= 1
        handshakingGroups.remove(
            UInt32(truncatingIfNeeded: id.rawValue),
            entry.endpoint.group(countsEndpoints: limits.countsEndpoints))
    }

    mutating func becomeSpare(_ id: ChannelID) {
        entries[id]?.sparePlace = spares.count
        spares.append(id)
    }

    private mutating func leaveSpares(_ id: ChannelID) {
        guard let place = entries[id]?.sparePlace, let last = spares.popLast() else { return }
        entries[id]?.sparePlace = nil
        guard last != id else { return }
        spares[place] = last
        entries[last]?.sparePlace = place
    }

    // MARK: - Queued bytes

    /// Makes room for `bytes` more of `id`: the channel whose carrier has taken nothing for longest gives way.
    /// Returns false when that is `id` itself, or when every queue is short.
    mutating func makeRoom(for bytes: Int, of id: ChannelID, _ out: inout [ChannelAction]) -> Bool {
        while queuedInAll + bytes > limits.queuedInAll {
            guard let slowest = slowest(), slowest != id else { return false }
            end(slowest, .limit, &out)
        }
        return true
    }

    private func slowest() -> ChannelID? {
        var found: (id: ChannelID, entry: Entry)?
        for id in slow {
            guard let entry = entries[id] else { continue }
            if let best = found?.entry,
                (best.takenAt, -best.queuedBytes) <= (entry.takenAt, -entry.queuedBytes)
            {
                continue
            }
            found = (id, entry)
        }
        return found?.id
    }

    mutating func leaveSlow(_ id: ChannelID) {
        guard let position = slow.firstIndex(of: id) else { return }
        slow.swapAt(position, slow.count - 1)
        slow.removeLast()
    }
}
