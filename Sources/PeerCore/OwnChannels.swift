import Primitives
import Sessions
import Wire

/// The channels of a node to itself: frames pass in memory, from the auctioneer to the bidder and back.
///
/// Their ids have the top bit set, so that they can't be mistaken for a socket's.
struct OwnChannels {
    enum Direction { case toBidder, toAuctioneer }
    enum Item {
        case opened(UInt64, TaskID, attempt: UInt32)
        case frame(UInt64, Frame, Direction)
        case closed(UInt64, Direction)
    }

    private static let flag: UInt64 = 1 << 63
    private var last: UInt64 = 0
    private var open: Set<UInt64> = []
    /// Bounded by the window of the tasks that run over it.
    var queue: [Item] = []

    static func isOwn(_ channel: UInt64) -> Bool { channel & flag != 0 }

    mutating func dial(_ task: TaskID, attempt: UInt32) {
        last += 1
        let id = Self.flag | last
        open.insert(id)
        queue.append(.opened(id, task, attempt: attempt))
    }

    mutating func send(_ frame: Frame, on channel: UInt64, _ direction: Direction) {
        if open.contains(channel) { queue.append(.frame(channel, frame, direction)) }
    }

    /// The other side hears of it.
    mutating func close(_ channel: UInt64, telling direction: Direction) {
        if open.remove(channel) != nil { queue.append(.closed(channel, direction)) }
    }
}
