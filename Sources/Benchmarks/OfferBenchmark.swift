import CSodium
import Cryptography
import Gossip
import Primitives
import Wire

/// Offers as they arrive, each in its own envelope: decoded, judged, verified, merged into the offer book and
/// answered. Compared with bare signature checks of the same records.
struct OfferBenchmark {
    private static let sellers = 256
    private static let models = 8
    private static let slice = 64
    /// Virtual time between two offers: within gossip's budget of 500 checks a second.
    private static let gap = Interval.microseconds(2_100)
    private static let wallStart: Int64 = 1_800_000_000_000

    let seconds: Double

    private struct Arrival {
        var envelope: [UInt8]
        var from: PeerAddress
        var now: Now
        // Input of the bare signature check.
        var message: [UInt8]
        var signature: [UInt8]
        var key: [UInt8]
    }

    func run(_ report: inout BenchmarkReport) throws {
        let arrivals = Self.arrivals()
        var pair = Pair()
        let end = Stopwatch.processCPU() + seconds
        repeat { try measure(arrivals, &pair) } while Stopwatch.processCPU() < end
        report.add("offers_per_s", 1e9 / pair.ourTime)
        report.add("offers_bare_per_s", 1e9 / pair.bareTime)
        report.add("offers_ratio", pair.ratio)
        report.add("offer_bytes", Double(arrivals[0].envelope.count))
    }

    private static func now(_ index: Int) -> Now {
        let elapsed = gap * Int64(index)
        return Now(
            monotonic: MonotonicTime(nanoseconds: 100_000_000_000) + elapsed,
            wall: WallTime(milliseconds: wallStart + elapsed.milliseconds))
    }

    private static func arrivals() -> [Arrival] {
        let identities = (0..<sellers).map { Identity(seed: Bytes32(UInt64($0), 3, 3, 3)) }
        return (0..<sellers * models).map { index in
            let seller = index % sellers
            let address = PeerAddress(
                key: identities[seller].publicKey,
                endpoint: Endpoint(ipv4: 0x1400_0001 | UInt32(seller) << 8, port: 7827))
            let now = now(index)
            let offer = Offer(
                publicKey: address.key, model: "wren-\(index / sellers)",
                digest: Bytes32(1, 2, 3, UInt64(index)),
                digestSource: .file, quantization: "q8_0", context: 4_096, features: [.chat, .completion],
                continues: true,
                price: Price(input: 200_000, cachedInput: 20_000, output: 2_000_000), slots: 2,
                speed: Speed(firstTokenMilliseconds: 40, millitokensPerSecond: 60_000),
                endpoints: [address.endpoint],
                reachability: .direct, name: "seller\(seller)", sequence: UInt64(now.wall.milliseconds),
                issuedAt: now.wall,
                notAfter: now.wall + .seconds(180))
            let signed = Verified(signing: offer, with: identities[seller]).signed
            return Arrival(
                envelope: Envelope(request: 1, message: .gossip(.offerMail([signed]))).encoded(),
                from: address,
                now: now,
                message: Offer.domain.withUTF8Buffer { Array($0) } + [0] + signed.body,
                signature: signed.signature.bytes,
                key: address.key.value.bytes)
        }
    }

    private func measure(_ arrivals: [Arrival], _ pair: inout Pair) throws {
        var gossip = Gossip(identity: Identity(seed: Bytes32(9, 9, 9, 9)))
        var turn = Turn(now: Self.now(0), random: SeededRandom(seed: 1))
        var out: [GossipAction] = []
        for arrival in arrivals.prefix(Self.sellers) {
            gossip.memberJoined(arrival.from, turn: &turn, out: &out)
        }
        out.removeAll()
        for start in stride(from: 0, to: arrivals.count, by: Self.slice) {
            let range = start..<min(start + Self.slice, arrivals.count)
            let ours = Stopwatch.each(range.count) {
                for index in range {
                    let arrival = arrivals[index]
                    turn.now = arrival.now
                    guard let message = try? Envelope(decoding: arrival.envelope).message.gossip else {
                        continue
                    }
                    let reply = gossip.handle(
                        message, from: arrival.from, proven: true, turn: &turn,
                        out: &out)
                    blackHole(reply)
                    out.removeAll(keepingCapacity: true)
                }
            }
            let bare = Stopwatch.each(range.count) {
                for index in range {
                    let arrival = arrivals[index]
                    blackHole(
                        crypto_sign_verify_detached(
                            arrival.signature, arrival.message, UInt64(arrival.message.count), arrival.key))
                }
            }
            pair.ours.append(ours)
            pair.bare.append(bare)
        }
        guard gossip.statistics.offersMerged == UInt64(arrivals.count) else {
            throw BenchmarkError(
                "merged \(gossip.statistics.offersMerged) of \(arrivals.count) offers; dropped: \(gossip.dropped)"
            )
        }
    }
}
