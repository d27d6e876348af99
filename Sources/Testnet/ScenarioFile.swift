// A scenario: the nodes, the network between them, the load, the faults and the expected outcome, in one
// file. `starling sim` plays it in virtual time, `starling testnet run` with processes. A testnet's file is a
// scenario without events.

import NodeConfiguration
import Primitives

public struct ScenarioFile: Sendable {
    /// The keys of a scenario in addition to those of a testnet.
    static let keys = [
        "about", "start", "links", "clocks", "load", "lookups", "searches", "events", "churn", "byzantine",
        "calm", "limit", "expect",
    ]

    public var testnet: TestnetFile
    /// A one-sentence description.
    public var about: String
    /// Node starts are spread evenly over this time.
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

    /// Network conditions between any two nodes; probabilities are in parts per million.
    public struct Links: Sendable {
        public var latency = Interval.milliseconds(5)...Interval.milliseconds(40)
        public var jitter = Interval.milliseconds(2)
        public var loss = 0
        public var duplication = 0
        public var reordering = 0
        /// Names with their shares of the nodes, in parts per million.
        public var regions: [(name: String, share: Int)] = []
        /// One-way latencies, indexed by two regions; `latency` is added.
        public var matrix: [[Interval]] = []
        /// Kinds of NATs with their shares of the nodes, in parts per million.
        public var nat: [(kind: TestnetFile.NAT, share: Int)] = []
        /// Silence after which a NAT forgets a mapping.
        public var natIdle = Interval.seconds(60)
    }

    /// Errors of the wall clocks.
    public struct Clocks: Sendable {
        /// How far clocks are ahead, drawn uniformly from this range.
        public var skew = Interval.seconds(-1)...Interval.seconds(1)
        /// Nodes whose clock starts in 1970, in parts per million.
        public var stuckIn1970 = 0
    }

    /// Tasks, submitted at `rate` per second from `from` on.
    public struct Load: Sendable {
        public var model: String
        public var count: Int
        public var rate: Double
        public var from: Interval
        /// Nodes or groups to ask, in turn. If empty: all that sell nothing, or else all.
        public var via: [String]
        public var tokens: ClosedRange<Int>
        public var deadline: Interval
        public var prompt: String
        public var shape = LoadShape()
    }

    /// Questions to the DHT with known answers, asked by honest nodes drawn at random, at `rate` per second
    /// from `from` on.
    public struct Probes: Sendable {
        /// Search for this model's providers; nil means lookups of random points.
        public var model: String?
        public var count: Int
        public var rate: Double
        public var from: Interval
    }

    /// One action at a point in time.
    public struct Event: Sendable {
        public enum Action: String, Sendable, CaseIterable {
            case kill, freeze, thaw, restart, stop, partition, heal
            case powerOff = "power-off"
        }
        public var at: Interval
        public var action: Action
        /// Nodes or groups; `busy` means a node that is answering at that moment.
        public var nodes: [String]
        /// How long a freeze or a partition lasts; nil means until another event ends it.
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

    /// Nodes that misbehave from a given time on.
    public struct Byzantine: Sendable {
        public enum Behaviour: String, Sendable, CaseIterable {
            /// Ignores all input and answers nothing; its own timers keep running.
            case drop
            /// Sends overheard handshakes again, from the addresses of others.
            case spoof
            /// Answers, but names only its fellow liars, as contacts and as providers.
            case lie
            /// Like `lie`, by additional nodes whose ids are ground to lie near the topic of `near`.
            case ground
            /// Sends `rate` packets a second to honest nodes, half of them handshakes and half invented
            /// offers.
            case flood
            /// Repeats `rate` overheard datagrams a second, to their original receivers and to others.
            case replay

            var hasRate: Bool { self == .flood || self == .replay }
        }
        public var behaviour: Behaviour
        /// Share of the nodes in parts per million; nil means `count`.
        public var share: Int?
        public var count = 0
        /// The nodes from which they are drawn. If empty: all but the first two, by which the others join.
        public var nodes: [String] = []
        public var from: Interval
        /// Per second and node.
        public var rate = 100
        public var near = ""
        /// Targets of a flood; empty means all.
        public var victims: [String] = []
    }

    /// For example `answered >= 99.5 %`.
    public struct Threshold: Sendable, CustomStringConvertible {
        public enum Relation: String, Sendable { case atLeast = ">=", atMost = "<=" }
        public var measure: String
        public var relation: Relation
        /// More than any measure reaches, and exact as a number of seconds.
        static let boundMax = 1e15
        /// In the measure's unit: percent, seconds, bytes per second or a count.
        public var bound: Double
        public var text: String
        public var line: Int?
        public var description: String { text }

        public func holds(_ value: Double) -> Bool { relation == .atLeast ? value >= bound : value <= bound }
    }

    /// Indices of the nodes that `names` selects, by their own name or their group's.
    public func places(_ names: [String]) -> [Int] {
        testnet.nodes.indices.filter {
            names.contains(testnet.nodes[$0].name) || names.contains(testnet.nodes[$0].group)
        }
    }
}
