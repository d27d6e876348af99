// Ids that one node gives to its own objects. They are never sent, and a shell only hands them back.

/// One channel of this node; never reused.
public struct ChannelID: Hashable, Comparable, Sendable, BitwiseCopyable {
    public var rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable
    public static func < (a: ChannelID, b: ChannelID) -> Bool { a.rawValue < b.rawValue }
}

/// One job on this node's model servers; never reused.
public struct JobID: Hashable, Comparable, Sendable, BitwiseCopyable {
    public var rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable
    public static func < (a: JobID, b: JobID) -> Bool { a.rawValue < b.rawValue }
}

/// Pairs a machine's request with its one completion. Unique within the machine that chose it.
public struct RequestToken: Hashable, Comparable, Sendable, BitwiseCopyable, ExpressibleByIntegerLiteral {
    public var rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable
    public static func < (a: RequestToken, b: RequestToken) -> Bool { a.rawValue < b.rawValue }
    public init(integerLiteral value: UInt64) { rawValue = value }
}
