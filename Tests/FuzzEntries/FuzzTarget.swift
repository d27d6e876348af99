/// The entry points that strangers can reach, each as a function of bytes. libFuzzer calls it a million times
/// (`scripts/fuzz`), and `HostileTests` calls it with every input that was kept (`Tests/Fuzz/corpus`).
///
/// An entry checks by `precondition` what must hold for any input: a broken rule is a crash, which fuzzers
/// detect.
public enum FuzzTarget: String, CaseIterable, Sendable {
    /// One datagram's plaintext.
    case envelope
    /// One channel record's plaintext.
    case frame
    /// The body of a signed record.
    case record
    /// A program of packets, honest and forged, against `Sessions`.
    case session
    /// A program of connections and bytes against `Channels`.
    case channel
    /// A program of everything that can happen to a whole `Peer`.
    case peer
    /// A model server's event stream, and a stranger's request to a model server.
    case openai

    /// The most bytes of an input: longer ones are cut, so that the time of a run is bounded.
    public var inputSizeMax: Int {
        switch self {
        case .envelope, .record: 1_300
        case .frame: 16_100
        case .session, .peer: 4_096
        case .channel: 8_192
        case .openai: 4_096
        }
    }

    public func run(_ bytes: [UInt8]) {
        let bytes = Array(bytes.prefix(inputSizeMax))
        switch self {
        case .envelope: fuzzEnvelope(bytes)
        case .frame: fuzzFrame(bytes)
        case .record: fuzzRecord(bytes)
        case .session: fuzzSession(bytes)
        case .channel: fuzzChannel(bytes)
        case .peer: fuzzPeer(bytes)
        case .openai: fuzzOpenAI(bytes)
        }
    }
}
