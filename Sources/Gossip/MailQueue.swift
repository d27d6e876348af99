import DequeModule
import Primitives

/// Offers waiting to be mailed, by receiver. Short ids are stored, not records: what is sent is what the
/// offer book holds at that moment, so that a newer version replaces an older one that is still waiting.
/// Receivers take turns.
struct MailQueue: Sendable {
    private struct Box: Sendable {
        var address: PeerAddress
        var ids: [UInt64]
    }
    private var boxes: [PublicKey: Box] = [:]
    /// Every key that has a box, once, in the order of serving.
    private var turns = Deque<PublicKey>()

    var isEmpty: Bool { turns.isEmpty }

    /// Does nothing when the offer is already waiting or a bound is reached: anti-entropy makes up for it.
    mutating func add(_ id: UInt64, to address: PeerAddress) {
        if var box = boxes[address.key] {
            box.address = address
            if box.ids.count < GossipLimits.mailboxDepthMax, !box.ids.contains(id) { box.ids.append(id) }
            boxes[address.key] = box
        } else if boxes.count < GossipLimits.mailboxesMax {
            boxes[address.key] = Box(address: address, ids: [id])
            turns.append(address.key)
        }
    }

    /// Takes the next receiver's first offers, as many as `fits` returns for its list (at least one).
    mutating func next(fits: ([UInt64]) -> Int) -> (to: PeerAddress, ids: [UInt64])? {
        guard let key = turns.popFirst(), var box = boxes[key] else { return nil }
        let count = min(max(1, fits(box.ids)), box.ids.count)
        let taken = Array(box.ids.prefix(count))
        box.ids.removeFirst(count)
        if box.ids.isEmpty {
            boxes[key] = nil
            boxes.releaseIfEmpty()
            if turns.isEmpty { turns = [] }
        } else {
            boxes[key] = box
            turns.append(key)
        }
        return (box.address, taken)
    }

    mutating func forget(_ key: PublicKey) {
        guard boxes.removeValue(forKey: key) != nil else { return }
        turns.removeAll { $0 == key }
    }

    mutating func removeAll() {
        boxes.removeAll()
        turns.removeAll()
    }
}
