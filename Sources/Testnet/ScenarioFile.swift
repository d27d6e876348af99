// A scenario: nodes, what lies between them, what is asked, what breaks and what must hold, in one file that
// `starling sim` plays in virtual time and `starling testnet run` with processes. A testnet's file is a scenario in which
// nothing happens.

import NodeConfiguration
import Primitives

public struct ScenarioFile: Sendable {
    /// The keys that a scenario has beside those of a testnet.
    static let keys = [
        "about", "start", "links", "clocks", "load", "lookups", "searches", "events", "churn", "byzantine",
        "calm", "limit", "expect",
    ]

    public var testnet: TestnetFile
    /// A sentence for people.
    public var about: String
    /// The nodes start evenly spread over so long.
    public var startsWithin: Interval
    public var links: Links?
    public var clocks: Clocks?
    public var load: [Load] = []
    public var lookups: [Probes] = []
    public var searches: [Probes] = []
    public var events: [Event] = []
    public var churn: Churn?
    public var byzantine: [Byzantine] = []
    public var calm: Interval?
    public var limit: Interval?
    public var expect: [Threshold] = []

    /// What lies between any two nodes; probabilities in parts of a million.
    public struct Links: Sendable {
        public var latency = Interval.milliseconds(5)...Interval.milliseconds(40)
        public var jitter = Interval.milliseconds(2)
        public var loss = 0
        public var duplication = 0
        public var reordering = 0
        /// Names with their shares of the nodes, in parts of a million.
        public var regions: [(name: String, share: Int)] = []
        /// One way, by the places of two regions; `latency` comes on top.
        public var matrix: [[Interval]] = []
        /// Kinds of NATs with their shares of the nodes, in parts of a million.
        public var nat: [(kind: TestnetFile.NAT, share: Int)] = []
        /// Silence after which a NAT forgets a mapping.
        public var natIdle = Interval.seconds(60)
    }

    /// What wall clocks show.
    public struct Clocks: Sendable {
        /// How far they are ahead, uniform in between.
        public var skew = Interval.seconds(-1)...Interval.seconds(1)
        /// Nodes that start in 1970, in parts of a million.
        public var stuckIn1970 = 0
    }

    /// Tasks, `rate` a second from `from` on.
    public struct Load: Sendable {
        public var model: String
        public var count: Int
        public var rate: Double
        public var from: Interval
        /// Nodes or groups that are asked, in turn; empty: those that sell nothing, or all.
        public var via: [String]
        public var tokens: ClosedRange<Int>
        public var deadline: Interval
        public var prompt: String
    }

    /// Questions to the DHT whose answers are known, by honest nodes drawn at random, `rate` a second from `from` on.
    public struct Probes: Sendable {
        /// Whose providers are searched; nil: lookups of random points.
        public var model: String?
        public var count: Int
        public var rate: Double
        public var from: Interval
    }

    public struct Event: Sendable {
        public enum Action: String, Sendable, CaseIterable {
            case kill, freeze, thaw, restart, stop, partition, heal
            case powerOff = "power-off"
        }
        public var at: Interval
        public var action: Action
        /// Nodes or groups; `busy`: one that answers somebody at that moment.
        public var nodes: [String]
        /// How long a freeze or a partition lasts; nil: until it is ended.
        public var lasts: Interval?
        public var line: Int?
    }

    /// Nodes that come and go: the time until the next end is drawn from an exponential distribution.
    public struct Churn: Sendable {
        public var nodes: [String]
        public var meanLife: Interval
        public var downtime: Interval
        public var from: Interval
        public var until: Interval
    }

    /// Nodes that misbehave from a moment on.
    public struct Byzantine: Sendable {
        public enum Behaviour: String, Sendable, CaseIterable {
            /// It hears nothing and says nothing of what it is asked; its own timers go on.
            case drop
            /// The handshakes that were overheard are sent once more, from others' addresses.
            case spoof
            /// It answers, and names only its fellows: as contacts and as providers.
            case lie
            /// The same by nodes that come on top, whose ids are ground to lie near the topic of `near`.
            case ground
            /// It sends `rate` handshakes and invented offers a second, half of each, to honest nodes.
            case flood
            /// It sends `rate` overheard datagrams a second again, to whom they were meant for and to others.
            case replay

            var hasRate: Bool { self == .flood || self == .replay }
        }
        public var behaviour: Behaviour
        /// Of the nodes, in parts of a million; nil: `count`.
        public var share: Int?
        public var count = 0
        /// Of which they are drawn; empty: all but the first two, by which the others join.
        public var nodes: [String] = []
        public var from: Interval
        /// A second, of each of them.
        public var rate = 100
        public var near = ""
        /// Whom a flood hits; empty: all.
        public var victims: [String] = []
    }

    /// `answered >= 99.5 %`.
    public struct Threshold: Sendable, CustomStringConvertible {
        public enum Relation: String, Sendable { case atLeast = ">=", atMost = "<=" }
        public var measure: String
        public var relation: Relation
        /// In the measure's unit: percent, seconds, bytes a second or a count.
        public var bound: Double
        public var text: String
        public var line: Int?
        public var description: String { text }

        public func holds(_ value: Double) -> Bool { relation == .atLeast ? value >= bound : value <= bound }
    }

    /// The places of the nodes that `names` name, each itself or its group.
    public func places(_ names: [String]) -> [Int] {
        testnet.nodes.indices.filter {
            names.contains(testnet.nodes[$0].name) || names.contains(testnet.nodes[$0].group)
        }
    }
}
