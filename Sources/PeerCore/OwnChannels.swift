import Primitives
import Sessions
import Wire

/// A node's channels to itself: frames pass in memory, from the auctioneer to the bidder and back.
///
/// Their ids have the top bit set, so that they can't be confused with a socket's.
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
    /// Bounded by the windows of the tasks on these channels.
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

    /// Closes the channel and tells the other side.
    mutating func close(_ channel: ChannelID, telling direction: Direction) {
        if open.remove(channel) != nil { queue.append(.closed(channel, direction)) }
    }
}
