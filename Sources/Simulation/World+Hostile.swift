// Hostile machines: the process has ended, and an `Impostor` with its key answers at its address. None of it
// touches the real code: honest nodes meet it only through the carrier.

import Cryptography
import Primitives
@_spi(Simulation) import Sessions
import Wire

extension World {
    /// How often a hostile machine acts.
    private static let hostileEvery: Int64 = 100_000_000
    /// Victims of a flood that get handshakes, and handshakes made for them.
    private static let handshakesMax = 64
    private static let inventedOffersMax = 128

    /// Ends the process and starts an attacker's program in its place.
    func turn(_ host: Host, _ hostility: Hostility) {
        end(host, .hostile, isReset: true)
        host.state = .hostile
        let seed = Blake2b.hash(
            domain: "starling simulation impostor", host.identity.publicKey.value.bytes,
            Bytes32(scenario.seed, UInt64(host.index), 0, 0).bytes)
        let contact = Contact(
            publicKey: host.identity.publicKey, endpoints: [host.endpoint], reachability: .direct,
            sequence: UInt64(now(host).wall.milliseconds) + 1, issuedAt: now(host).wall, name: host.plan.name)
        host.impostor = Impostor(
            hostility, sessions: sessions(of: host.identity, seed),
            contact: Verified(signing: contact, with: host.identity),
            turn: Turn(now: now(host), random: SeededRandom(seed: seed)))
        if case .lie = hostility { liars.append(Int32(host.index)) }
        if case .replay = hostility { overhears = true }
        queue.push(.hostile(host: Int32(host.index)), at: clock + Self.hostileEvery)
    }

    private func sessions(of identity: Identity, _ entropy: Bytes32) -> Sessions {
        var limits = SessionLimits()
        limits.carriesPlain = scenario.carrier == .plain
        return Sessions(
            identity: identity, mesh: MeshIdentity(name: Self.meshName), entropy: entropy, limits: limits)
    }

    // MARK: Ground ids

    /// Most keys tried for ids near a topic: a fifth of a second of one core for each ten thousand.
    private static let triesMax = 400_000

    /// The identities of the nodes with ground ids, by their numbers. Enough keys are tried that the closest
    /// to the topic are probably closer than the closest honest node.
    static func ground(_ scenario: Scenario, _ seed: Bytes32) -> [Int: Identity] {
        var identities: [Int: Identity] = [:]
        var wanted: [(model: String, nodes: [Int])] = []
        for (index, node) in scenario.nodes.enumerated() {
            guard let model = node.groundNear else { continue }
            if let place = wanted.firstIndex(where: { $0.model == model }) {
                wanted[place].nodes.append(index)
            } else {
                wanted.append((model, [index]))
            }
        }
        var tried = scenario.nodes.count
        for (model, nodes) in wanted {
            let topic = TopicID(model: model)
            let tries = min(triesMax, 2 * nodes.count * scenario.nodes.count)
            var near: [(distance: Bytes32, number: Int)] = []
            for number in tried..<tried + tries {
                near.append((identity(seed, number).nodeID.value ^ topic.value, number))
            }
            tried += tries
            near.sort { $0.distance < $1.distance }
            for (node, found) in zip(nodes, near) { identities[node] = identity(seed, found.number) }
        }
        return identities
    }

    // MARK: Receiving

    func hear(_ host: Host, _ impostor: Impostor, _ bytes: UnsafeMutableRawBufferPointer, from: Int32) {
        counts.delivered += 1
        impostor.turn.now = now(host)
        let asker = endpoint(of: from)
        let incoming = impostor.sessions.receive(
            bytes, from: asker, turn: &impostor.turn, out: &impostor.output)
        if let incoming, let reply = incoming.reply,
            let answer = answer(incoming.message, host, impostor, asker)
        {
            impostor.sessions.reply(
                Lies.cut(answer, to: min(reply.messageBytesMax, WireLimits.envelopeSizeMax - 16)), to: reply,
                turn: &impostor.turn, out: &impostor.output)
        }
        sendHostile(host, impostor)
    }

    private func answer(_ message: Message, _ host: Host, _ impostor: Impostor, _ asker: Endpoint) -> Message?
    {
        guard case .lie = impostor.hostility else {
            // Alive, but of no use.
            guard case .discovery(.ping) = message else { return nil }
            return .discovery(.pong(contact: impostor.contact.signed, observed: asker))
        }
        let lies = Lies(
            own: impostor.contact.signed,
            nearest: { self.forged(by: host) + self.colluders($0, $1 - 1).map(self.stated) },
            registrations: { topic, start in
                let liars = self.colluders(topic.value, 64)
                return (0..<min(4, liars.count)).compactMap {
                    self.registration(liars[(Int(start) + $0 * 7) % liars.count], topic)
                }
            })
        return lies.answer(message, to: asker)
    }

    private func colluders(_ target: Bytes32, _ most: Int) -> [Host] {
        let near = liars.map { hosts[Int($0)] }.sorted {
            $0.nodeID.value ^ target < $1.nodeID.value ^ target
        }
        return Array(near.prefix(most))
    }

    private func stated(_ host: Host) -> SignedRecord {
        host.impostor?.contact.signed ?? SignedRecord(body: [], signature: Signature(r: .zero, s: .zero))
    }

    private func registration(_ host: Host, _ topic: TopicID) -> SignedRecord? {
        guard let impostor = host.impostor else { return nil }
        if let known = impostor.registrations[topic] { return known.signed }
        let record = Registration(
            publicKey: host.identity.publicKey, topic: topic, endpoints: [host.endpoint],
            issuedAt: now(host).wall)
        let signed = Verified(signing: record, with: host.identity)
        if impostor.registrations.count >= 64 { impostor.registrations.removeAll() }
        impostor.registrations[topic] = signed
        return signed.signed
    }

    /// A contact that claims an honest node is at the liar's address; its signature is another record's.
    private func forged(by liar: Host) -> [SignedRecord] {
        guard let impostor = liar.impostor, let victim = drawHonest(&impostor.random) else { return [] }
        let contact = Contact(
            publicKey: victim.identity.publicKey, endpoints: [liar.endpoint], reachability: .direct,
            sequence: UInt64(now(liar).wall.milliseconds) + 1_000_000, issuedAt: now(liar).wall,
            name: victim.plan.name)
        return [SignedRecord(body: contact.encoded(), signature: impostor.contact.signed.signature)]
    }

    // MARK: Acting

    func actHostile(_ host: Host) {
        guard let impostor = host.impostor else { return }
        impostor.turn.now = now(host)
        impostor.sessions.tick(turn: &impostor.turn, out: &impostor.output)
        switch impostor.hostility {
        case .lie:
            // Once a second it contacts a node, to become known.
            if impostor.random.chance(1, in: 10), let honest = drawHonest(&impostor.random) {
                impostor.sessions.request(
                    .discovery(.ping(contact: impostor.contact.signed)), to: address(honest), owner: .peer(0),
                    turn: &impostor.turn, out: &impostor.output)
            }
        case .flood(let perSecond, let victims): flood(host, impostor, perSecond, victims)
        case .replay(let perSecond):
            for _ in 0..<turns(perSecond, impostor) { replay(host, impostor) }
        }
        sendHostile(host, impostor)
        queue.push(.hostile(host: Int32(host.index)), at: clock + Self.hostileEvery)
    }

    /// How many of `perSecond` actions fall into one turn.
    private func turns(_ perSecond: Int, _ impostor: Impostor) -> Int {
        let parts = Int(1_000_000_000 / Self.hostileEvery)
        return perSecond / parts + (impostor.random.below(parts) < perSecond % parts ? 1 : 0)
    }

    private func address(_ host: Host) -> PeerAddress {
        PeerAddress(key: host.identity.publicKey, endpoint: host.endpoint)
    }

    /// An honest node that strangers can reach.
    func drawHonest(_ random: inout SeededRandom) -> Host? {
        for _ in 0..<32 {
            let host = hosts[random.below(hosts.count)]
            if host.isUp, host.plan.nat == .none { return host }
        }
        return nil
    }

    private func sendHostile(_ host: Host, _ impostor: Impostor) {
        for index in 0..<impostor.output.datagrams.count {
            impostor.output.datagrams.withDatagram(index) { bytes, endpoint in
                counts.hostile += 1
                digest.mix(7, host.index, bytes.count)
                guard let to = address(of: endpoint) else { return }
                send(bytes, from: Int32(host.index), to: to)
            }
        }
        impostor.output.removeAll()
    }

    // MARK: Floods

    private func flood(_ host: Host, _ impostor: Impostor, _ perSecond: Int, _ victims: [Int]) {
        if impostor.handshakes.isEmpty { prepareFlood(host, impostor, victims) }
        for turn in 0..<turns(perSecond, impostor) {
            if turn % 2 == 0, !impostor.handshakes.isEmpty {
                let (bytes, to) = impostor.handshakes[impostor.random.below(impostor.handshakes.count)]
                counts.hostile += 1
                bytes.withUnsafeBytes { send($0, from: Int32(host.index), to: to) }
            } else {
                let victim = victims.isEmpty ? nil : hosts[victims[impostor.random.below(victims.count)]]
                guard let target = victim ?? drawHonest(&impostor.random), target.isUp else { continue }
                // One in eight is an honest seller's newest, which it draws into its own crowd.
                let genuine = impostor.random.chance(1, in: 8) ? anOffer(&impostor.random) : nil
                let offer = genuine ?? impostor.offers[impostor.random.below(impostor.offers.count)]
                impostor.sessions.send(
                    .gossip(.offerMail([offer])), to: address(target), turn: &impostor.turn,
                    out: &impostor.output)
            }
        }
    }

    /// A current offer of an honest seller; nil if the draw finds none.
    private func anOffer(_ random: inout SeededRandom) -> SignedRecord? {
        guard let seller = drawHonest(&random), seller.isSelling, let plan = seller.plan.serves.first,
            let process = seller.process
        else { return nil }
        return process.peer.offers(model: plan.model).first {
            $0.record.publicKey == seller.identity.publicKey
        }?.signed
    }

    /// Handshakes of throw-away identities, and offers of nodes that never existed.
    private func prepareFlood(_ host: Host, _ impostor: Impostor, _ victims: [Int]) {
        for number in 0..<Self.handshakesMax {
            let victim = victims.isEmpty ? nil : hosts[victims[number % victims.count]]
            guard let target = victim ?? drawHonest(&impostor.random), target.plan.nat == .none else {
                continue
            }
            let identity = Identity(seed: impostor.random.bytes32())
            var throwaway = sessions(of: identity, impostor.random.bytes32())
            var output = SessionOutput()
            throwaway.request(
                .discovery(.find(target: impostor.random.bytes32())), to: address(target), owner: .peer(0),
                turn: &impostor.turn, out: &output)
            for index in 0..<output.datagrams.count {
                output.datagrams.withDatagram(index) { bytes, _ in
                    impostor.handshakes.append((Array(bytes), Int32(target.index)))
                }
            }
        }
        let models = scenario.nodes.flatMap { $0.serves.map(\.model) }
        for number in 0..<Self.inventedOffersMax {
            let identity = Identity(seed: impostor.random.bytes32())
            // Each claims to be in its own network, where there is no node, or one in four where an honest node
            // is; every other one sells a model in demand.
            let wanted = models.isEmpty || number % 2 == 0 ? "flood-\(number)" : models[number % models.count]
            var offer = Offer(publicKey: identity.publicKey, model: wanted)
            offer.context = 8_192
            offer.features = [.chat, .completion]
            offer.continues = true
            offer.slots = 4
            offer.price = Price(input: 1, cachedInput: 1, output: 1)
            offer.speed = Speed(firstTokenMilliseconds: 10, millitokensPerSecond: 1_000_000)
            let honest = number % 4 == 3 ? drawHonest(&impostor.random) : nil
            offer.endpoints = [honest?.endpoint ?? Self.endpoint(Int32(hosts.count + number))]
            offer.reachability = .direct
            offer.sequence = UInt64(now(host).wall.milliseconds)
            offer.issuedAt = now(host).wall
            offer.notAfter = WallTime(milliseconds: now(host).wall.milliseconds + 180_000)
            impostor.offers.append(Verified(signing: offer, with: identity).signed)
        }
    }

    // MARK: Replays

    /// Kept for attackers that replay: a sample of all past datagrams.
    func overhear(_ bytes: UnsafeRawBufferPointer, _ from: Int32, _ to: Int32) {
        if overheard.count < Self.overheardMax {
            overheard.append((Array(bytes), from, to))
        } else if hostileRandom.chance(1, in: 8) {
            overheard[hostileRandom.below(overheard.count)] = (Array(bytes), from, to)
        }
    }

    private static let overheardMax = 2_048

    private func replay(_ host: Host, _ impostor: Impostor) {
        guard !overheard.isEmpty else { return }
        let (bytes, from, to) = overheard[impostor.random.below(overheard.count)]
        let choice = impostor.random.below(4)
        let source = choice & 1 == 0 ? from : Int32(host.index)
        var target = to
        if choice & 2 != 0, let other = drawHonest(&impostor.random) { target = Int32(other.index) }
        counts.hostile += 1
        bytes.withUnsafeBytes { send($0, from: source, to: target, isForged: source == from) }
    }
}
