import Primitives

/// Outgoing datagrams, sealed one after another in one reusable buffer. Bounded: like a full socket buffer,
/// it drops and counts what doesn't fit.
public struct DatagramSlab: Sendable {
    public struct Entry: Sendable {
        public var range: Range<Int>
        public var endpoint: Endpoint
    }

    /// Twice what may wait for openings (`SessionLimits.waitingInAll`) and leaves in one turn.
    public static let datagramsMaxDefault = 4_096
    /// At most 1,200 bytes, which every path of the internet carries without fragmentation.
    public static let datagramBytesMax = 1_200

    public private(set) var bytes: [UInt8] = []
    public private(set) var entries: [Entry] = []
    /// Datagrams dropped because the slab was full, since the start.
    public private(set) var overflowed: UInt64 = 0
    private let datagramsMax: Int

    public init(datagramsMax: Int = DatagramSlab.datagramsMaxDefault) { self.datagramsMax = datagramsMax }

    public var count: Int { entries.count }
    public var isEmpty: Bool { entries.isEmpty }

    public func withDatagram<R>(_ index: Int, _ body: (UnsafeRawBufferPointer, Endpoint) throws -> R) rethrows
        -> R
    {
        let entry = entries[index]
        return try bytes.withUnsafeBytes {
            try body(UnsafeRawBufferPointer(rebasing: $0[entry.range]), entry.endpoint)
        }
    }

    /// Appended by copying: appending element by element takes a third of a simulation's time in a debug
    /// build.
    private static let zeros = [UInt8](repeating: 0, count: datagramBytesMax)

    /// Removes the datagrams. Keeps the memory, unless they used little of it.
    public mutating func removeAll() {
        bytes.recycle()
        entries.recycle()
    }

    /// Appends `count` zero bytes for `endpoint` and lets `fill` write them. Returns false when the slab is
    /// full.
    @discardableResult
    mutating func append(_ count: Int, to endpoint: Endpoint, _ fill: (UnsafeMutableRawBufferPointer) -> Void)
        -> Bool
    {
        precondition(count <= Self.datagramBytesMax, "a datagram of \(count) bytes")
        guard entries.count < datagramsMax else {
            overflowed &+= 1
            return false
        }
        let start = bytes.count
        bytes += Self.zeros[..<count]
        bytes.withUnsafeMutableBytes { fill(UnsafeMutableRawBufferPointer(rebasing: $0[start...])) }
        entries.append(Entry(range: start..<start + count, endpoint: endpoint))
        return true
    }
}
