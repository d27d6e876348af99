import Primitives
import Sessions
import Wire

/// The channels of a node to itself: frames pass in memory, from the auctioneer to the bidder and back.
///
/// Their ids have the top bit set, so that they can't be mistaken for a socket's.
struct OwnChannels {
    enum Direction { case toBidder, toAuctioneer }
    enum Item {
        case opened(ChannelID, TaskID, attempt: UInt32)
        case frame(ChannelID, Frame, Direction)
        case closed(ChannelID, Direction)
    }

    private static let flag: UInt64 = 1 << 63
    private var last: UInt64 = 0
    private var open: Set<ChannelID> = []
    /// Bounded by the window of the tasks that run over it.
    var queue: [Item] = []

    static func isOwn(_ channel: ChannelID) -> Bool { channel.rawValue & flag != 0 }

    mutating func dial(_ task: TaskID, attempt: UInt32) {
        last += 1
        let id = ChannelID(rawValue: Self.flag | last)
        open.insert(id)
        queue.append(.opened(id, task, attempt: attempt))
    }

    mutating func send(_ frame: Frame, on channel: ChannelID, _ direction: Direction) {
        if open.contains(channel) { queue.append(.frame(channel, frame, direction)) }
    }

    /// The other side hears of it.
    mutating func close(_ channel: ChannelID, telling direction: Direction) {
        if open.remove(channel) != nil { queue.append(.closed(channel, direction)) }
    }
}
