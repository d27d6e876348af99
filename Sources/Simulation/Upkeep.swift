import Primitives

/// The cost of the nodes' upkeep: their traffic in the second half of the calm, when all have joined and
/// nothing is asked or broken. Datagrams with their IPv4 and UDP headers; channels are closed by then.
public struct Upkeep: Sendable {
    static let headerBytes = 28

    public var from = Interval.zero
    public var until = Interval.zero
    public var datagrams = 0
    public var bytes = 0

    /// Per node and second.
    func perNode(_ count: Int, nodes: Int) -> Double {
        let seconds = (until - from).seconds
        return seconds > 0 ? Double(count) / seconds / Double(max(1, nodes)) : 0
    }

    /// The counts between `earlier` and now.
    init(from: Int64, _ earlier: CarrierCounts, until: Int64, _ later: CarrierCounts) {
        self.from = Interval(nanoseconds: from)
        self.until = Interval(nanoseconds: until)
        datagrams = later.datagrams - earlier.datagrams
        bytes = later.datagramBytes - earlier.datagramBytes + datagrams * Self.headerBytes
    }
}
