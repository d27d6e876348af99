import Primitives

/// The course of a run, sampled in virtual time. It starts with ten samples a second; whenever `samplesMax`
/// is reached, every second one is dropped and the rate halves, so that a run of any length has a chart.
public struct Curves: Sendable {
    public struct Sample: Sendable {
        public var at: Interval
        public var nodesUp = 0
        /// Nodes that know every offer; counted until all do.
        public var nodesKnowing = 0
        public var submitted = 0
        public var delivered = 0
        /// Of datagrams and channels, since the start.
        public var bytesSent = 0
    }

    static let samplesMax = 512

    public private(set) var samples: [Sample] = []
    private var stride = 1
    private var calls = 0

    mutating func add(_ sample: @autoclosure () -> Sample) {
        calls += 1
        guard (calls - 1) % stride == 0 else { return }
        samples.append(sample())
        guard samples.count >= Self.samplesMax else { return }
        samples = samples.enumerated().filter { $0.offset % 2 == 0 }.map(\.element)
        stride *= 2
    }

    var json: String {
        func list(_ value: (Sample) -> Int) -> String {
            "[" + samples.map { "\(value($0))" }.joined(separator: ",") + "]"
        }
        return """
            {"ms": \(list { Int($0.at.milliseconds) }), "nodes_up": \(list(\.nodesUp)), \
            "nodes_knowing": \(list(\.nodesKnowing)), "submitted": \(list(\.submitted)), \
            "delivered": \(list(\.delivered)), "bytes_sent": \(list(\.bytesSent))}
            """
    }
}

extension World {
    func sampleCurves() {
        curves.add(
            {
                var sample = Curves.Sample(at: Interval(nanoseconds: clock))
                sample.nodesUp = hosts.count(where: \.isUp)
                sample.nodesKnowing =
                    watch.convergedAt != nil ? sample.nodesUp : watch.knowing.count { $0 }
                sample.submitted = clients.count { $0.submittedAt > 0 }
                sample.delivered = clients.count { $0.outcome == .delivered }
                sample.bytesSent = counts.datagramBytes + counts.streamBytes
                return sample
            }())
    }
}
