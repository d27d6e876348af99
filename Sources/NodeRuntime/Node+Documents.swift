import Cryptography
import Discovery
import Gossip
import Market
import MeshDocuments
import PeerCore
import Primitives
import UVLoop
import Wire

// What a node reports about itself: the core's state, converted to the documents of `MeshDocuments`.
extension Node: MeshNode {
    public func catalogue() async -> [ModelSummaryDocument] {
        peer.catalogue(now: SystemClock.now()).map { model in
            ModelSummaryDocument(
                model: model.name, context: Int(model.context), providers: model.providers,
                quantizations: model.quantizations,
                features: model.features.names, lowestPrice: model.lowest.document,
                highestPrice: model.highest.document)
        }
    }

    public func peers() async -> PeersDocument {
        var sells: [PublicKey: [String]] = [:]
        for offer in peer.allOffers { sells[offer.record.publicKey, default: []].append(offer.record.model) }
        let now = SystemClock.now()
        let documents = peer.contacts.map { contact in
            let experience = peer.experience(of: contact.publicKey)
            let name = name(of: contact.publicKey, label: contact.name)
            return PeerDocument(
                nodeID: contact.nodeID.description, publicKey: contact.publicKey.description,
                name: name.text, isPinned: name.isPinned,
                endpoints: contact.endpoints.flatMap {
                    ["udp://\($0)"] + (contact.reachability.acceptsChannels ? ["tcp://\($0)"] : [])
                },
                reach: contact.reachability.name, state: contact.state.rawValue, inTable: contact.inTable,
                roundTripMilliseconds: contact.roundTrip > .zero
                    ? Double(contact.roundTrip.microseconds) / 1000 : nil,
                lastHeard: Timestamp.text(
                    milliseconds: now.wall.milliseconds - (now.monotonic - contact.lastHeard).milliseconds),
                sells: sells[contact.publicKey] ?? [],
                trust: Double(peer.millitrust(contact.publicKey, now: now)) / 1000,
                tasks: .init(won: experience?.won ?? 0, failed: experience?.failed ?? 0),
                balance: balances[contact.publicKey])
        }
        var dropped: [String: UInt64] = [:]
        for (name, count) in peer.dropped { dropped[name, default: 0] += count }
        return PeersDocument(own: own, peers: documents, dropped: dropped)
    }

    private var own: SelfDocument {
        SelfDocument(
            nodeID: identity.nodeID.description, publicKey: identity.publicKey.description,
            name: settings.name, mesh: settings.mesh.name,
            version: version, reach: reach)
    }

    private var reach: ReachDocument {
        let count = peer.contactCount
        let endpoint = peer.ownEndpoints.first ?? peer.observedEndpoint
        let isAlone = peer.isAlone
        let how =
            settings.mesh.publicEndpoint != nil
            ? "configured"
            : settings.mesh.listen.isLoopback ? "loopback" : peer.ownEndpoints.isEmpty ? nil : "observed"
        var fix: String?
        if isAlone {
            fix = joinDocuments.lazy.compactMap(\.problem).first ?? Self.aloneHint
        } else if !settings.mesh.inbound {
            fix = nil
        } else if endpoint == nil {
            let own = ThisMachine.addresses().first { $0.isPrivate }.map {
                ", for one of your network \($0.host)"
            }
            fix =
                "this node does not know its address yet: join a node, or set mesh.public; for a mesh of this machine alone"
                + " set mesh.address: 127.0.0.1\(own ?? "")"
        } else {
            fix = peer.testedReachability.flatMap(fix(of:))
        }
        let tested = peer.testedReachability.map { finding in
            ReachDocument.Test(
                datagrams: finding.datagrams.rawValue, channels: finding.channels.rawValue,
                endpoint: finding.endpoint.description, networks: finding.networks,
                ageSeconds: max(0, (SystemClock.monotonic - finding.at).milliseconds / 1_000))
        }
        return ReachDocument(
            state: isAlone ? "alone" : peer.ownReachability.name, endpoint: endpoint?.description, how: how,
            confirmedBy: tested?.networks ?? count, tested: tested, fix: fix)
    }

    /// Another process has this node's key; shown for an hour after its last sign.
    var ownKeyProblem: String? {
        guard let use = peer.ownKeyUse ?? ownKeySeen else { return nil }
        let age = SystemClock.monotonic - use.at
        guard age < .minutes(60) else { return nil }
        let place = use.endpoint.map { " at \($0)" } ?? ""
        return
            "another node\(place) runs with this node's key: stop it, or"
            + " give it a data folder and a key of its own (`starling init --data`); until then offers, receipts and"
            + " balances of both are mixed up"
    }

    /// What the operator should do about `Notice.alone`.
    static let aloneHint =
        "none of the nodes in mesh.join answers: check their addresses, and that UDP leaves your network"

    /// What the operator should do about what the test found out; nil: nothing.
    func fix(of finding: ReachabilityFinding) -> String? {
        guard finding.datagrams == .no || finding.channels == .no else { return nil }
        // The port to forward is ours, not the one that a router happened to show.
        let port = settings.mesh.publicEndpoint?.port ?? meshEndpoint.port
        let what =
            finding.datagrams == .no ? (finding.channels == .no ? "UDP and TCP" : "UDP") : "TCP"
        return "port \(port) \(what) can't be reached from outside: forward it, or say mesh.inbound: false"
    }

    public func offers(model: String?) async -> OffersDocument {
        let now = SystemClock.now()
        let offers = model.map { peer.offers(model: $0) } ?? peer.allOffers
        let documents = offers.map { offer in
            let record = offer.record
            let isOwn = record.publicKey == identity.publicKey
            let name = name(of: record.publicKey, label: record.name)
            return OfferDocument(
                model: record.model, nodeID: NodeID(of: record.publicKey).description, name: name.text,
                isPinned: name.isPinned, isDenied: settings.deny.contains(record.publicKey),
                quantization: record.quantization,
                context: Int(record.context),
                digest: record.digest.map {
                    .init(value: "sha256:" + hexadecimal($0.bytes), how: record.digestSource.name)
                },
                features: record.features.names, continues: record.continues, price: record.price.document,
                slots: Int(record.slots),
                measured: .init(
                    firstTokenMilliseconds: Int(record.speed.firstTokenMilliseconds),
                    tokensPerSecond: Double(record.speed.millitokensPerSecond) / 1000,
                    coldMilliseconds: record.speed.coldFirstTokenMilliseconds == 0
                        ? nil : Int(record.speed.coldFirstTokenMilliseconds),
                    promptTokensPerSecond: record.speed.promptTokensPerSecond == 0
                        ? nil : Int(record.speed.promptTokensPerSecond)),
                sequence: record.sequence,
                issuedAt: Timestamp.text(milliseconds: record.issuedAt.milliseconds),
                notAfter: Timestamp.text(milliseconds: record.notAfter.milliseconds),
                heardVia: isOwn ? "self" : "gossip",
                ageMilliseconds: max(0, now.wall.milliseconds - record.issuedAt.milliseconds))
        }.sorted { ($0.model, $0.name, $0.nodeID) < ($1.model, $1.name, $1.nodeID) }
        return OffersDocument(asOf: Timestamp.text(milliseconds: now.wall.milliseconds), offers: documents)
    }

    public func task(_ idOrPrefix: String) async -> TaskDocument? {
        let prefix = idOrPrefix.lowercased()
        let known = peer.transcripts(prefix: prefix).map(document)
        let stored = await storedTasks(prefix)
        let found = known + stored.filter { old in !known.contains { $0.task == old.task } }
        return found.count == 1 ? found.first : nil
    }

    public func status() async -> StatusDocument {
        let sold = await soldUntilNow()
        let record = peer.bidderRecord
        let counts = peer.taskCounts
        let models = backends.map { backend in
            backend.document(
                record, busy: peer.slotsTaken(backend.model), waiting: peer.tasksWaiting(backend.model),
                SystemClock.now())
        }
        let state: StatusDocument.State =
            isLeaving ? .leaving : isPaused ? .paused : backends.isEmpty ? .asking : .serving
        return StatusDocument(
            name: settings.name, nodeID: identity.nodeID.description,
            publicKey: identity.publicKey.description, mesh: settings.mesh.name,
            version: version, uptimeSeconds: (SystemClock.monotonic - startedAt).milliseconds / 1000,
            state: state, reach: reach,
            peers: peer.contactCount, models: models,
            tasks: TaskCountsDocument(
                running: counts.running, delivered: counts.delivered, refused: counts.refused,
                cancelled: counts.cancelled, failed: counts.failed),
            earned: balances.earned, earnedFrom: balances.debtorCount,
            spent: balances.spent,
            owedToUs: balances.owedToOwner,
            owedByUs: balances.owedByOwner,
            sold: sold, join: joinDocuments,
            next: advice(models))
    }

    /// The one thing that the operator should change; nil if there is none.
    private func advice(_ models: [ServedModelDocument]) -> String? {
        if let databaseProblem { return databaseProblem }
        if let ownKeyProblem { return ownKeyProblem }
        if isPaused { return "paused: `starling resume` takes work again" }
        if let (down, server) = zip(models, backends).first(where: { $0.0.backend.state == "down" }) {
            return
                "fix the model server of \(down.model) (\(server.place)): \(down.backend.error ?? "it is down")"
        }
        for backend in backends {
            if let mistake = backend.status?.description.map(backend.settings.mistakes)?.first {
                return "\(backend.model) at \(backend.place): \(mistake)"
            }
        }
        for model in models where model.bids.made >= 20 && model.bids.won * 10 < model.bids.made {
            return "\(model.model) wins few auctions: lower its price, or serve it faster"
        }
        return nil
    }
}

extension Price {
    var document: PriceDocument { PriceDocument(input: input, cachedInput: cachedInput, output: output) }
}

extension Reachability {
    var name: String {
        switch self {
        case .unknown: "unknown"
        case .direct: "direct"
        case .outbound: "outbound"
        case .datagrams: "datagrams"
        }
    }
}

private func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
}

extension DigestSource {
    var name: String {
        switch self {
        case .none: "none"
        case .file: "file"
        case .backend: "backend"
        }
    }
}

private func milliseconds(_ interval: Interval?) -> Double? {
    interval.map { Double($0.microseconds) / 1000 }
}

extension TaskBid {
    init(_ bid: BidTranscript, name: (PublicKey, String) -> (text: String, isPinned: Bool)) {
        let name = name(bid.worker, bid.name)
        let hasBid = bid.price != nil
        self.init(
            nodeID: NodeID(of: bid.worker).description, name: name.text, isPinned: name.isPinned,
            outcome: bid.outcome.rawValue, declined: bid.declined?.rawValue.snakeCased,
            price: bid.price?.document, queueMilliseconds: hasBid ? Int(bid.queueMilliseconds) : nil,
            firstTokenMilliseconds: hasBid ? Int(bid.firstTokenMilliseconds) : nil,
            tokensPerSecond: hasBid ? Double(bid.millitokensPerSecond) / 1000 : nil,
            expectedFirstTokenMilliseconds: hasBid ? Int(bid.expectedFirstTokenMilliseconds) : nil,
            expectedTokensPerSecond: hasBid ? Double(bid.expectedMillitokensPerSecond) / 1000 : nil,
            trust: Double(bid.millitrust) / 1000, estimate: hasBid ? bid.estimate : nil,
            completionMilliseconds: hasBid ? milliseconds(bid.completion) : nil,
            score: hasBid ? bid.score : nil, signature: bid.signature.map { Base32.encode($0.bytes) })
    }
}

extension QuoteDocument {
    init(_ quote: Quote, name: (PublicKey, String) -> (text: String, isPinned: Bool)) {
        let reasons = quote.reasons.map { ($0.reason.key, $0.nodes) }
        self.init(
            model: quote.model, tokensIn: Int(quote.tokensIn), tokensOut: Int(quote.tokensOut),
            known: quote.known, reasons: Dictionary(reasons, uniquingKeysWith: +),
            bids: quote.bids.map { TaskBid($0, name: name) })
    }
}

extension TaskDocument {
    /// A transcript as a document. Holds neither the prompt nor the answer.
    init(
        _ transcript: TaskTranscript, via: String,
        name: (PublicKey, String) -> (text: String, isPinned: Bool)
    ) {
        let preferences = transcript.preferences
        let maxPrice =
            preferences.maxInputPrice == nil && preferences.maxOutputPrice == nil
            ? nil
            : TaskLimits.MaxPrice(
                prompt: preferences.maxInputPrice.map { Double($0) / 1e6 },
                completion: preferences.maxOutputPrice.map { Double($0) / 1e6 })
        self.init(
            task: transcript.task.description, state: transcript.state.rawValue,
            reason: transcript.failure?.reason.code,
            message: transcript.failure.map { Printable.line($0.message) }, model: transcript.model, via: via,
            createdAt: Timestamp.text(milliseconds: transcript.createdAt.milliseconds),
            limits: TaskLimits(
                maxPrice: maxPrice, maxCost: preferences.maxCost,
                deadlineMilliseconds: transcript.deadline.milliseconds,
                maxTokens: transcript.tokensOutMax.map(Int.init)),
            call: TaskCall(
                tokensIn: Int(transcript.tokensIn), tokensOutEstimate: Int(transcript.tokensOutEstimate),
                weights: .init(
                    timePerSecond: Int64(preferences.weights.timePerSecond),
                    trustPower: Int(preferences.weights.trustPower))),
            candidates: TaskCandidates(
                known: transcript.known, asked: transcript.bids.count,
                skipped: transcript.skipped.map { .init(reason: $0.reason.key, nodes: $0.nodes) }),
            bids: transcript.bids.map { TaskBid($0, name: name) },
            phases: TaskPhaseTimes(
                choose: milliseconds(transcript.phases.choose), bids: milliseconds(transcript.phases.collect),
                award: milliseconds(transcript.phases.award),
                firstToken: milliseconds(transcript.phases.firstToken),
                stream: milliseconds(transcript.phases.stream),
                total: milliseconds(transcript.phases.total)),
            assignments: transcript.assignments.map { assignment in
                let name = name(assignment.worker, assignment.name)
                return TaskAssignment(
                    nodeID: NodeID(of: assignment.worker).description, name: name.text,
                    isPinned: name.isPinned, fromToken: Int(assignment.fromToken),
                    tokens: Int(assignment.tokens),
                    ended: assignment.ended.rawValue,
                    why: assignment.why.isEmpty ? nil : Printable.line(assignment.why), cost: assignment.cost,
                    gapMilliseconds: milliseconds(assignment.gap),
                    receipt: assignment.receipt.map { Base32.encode($0.bytes) },
                    droppedFields: assignment.droppedFields)
            },
            resume: transcript.resume.rawValue, failovers: max(0, transcript.assignments.count - 1),
            usage: TaskUsage(
                promptTokens: Int(transcript.promptTokens),
                // Of an answer that began again and failed, the client keeps what it had got.
                completionTokens: Int(
                    transcript.failure?.delivered?.completionTokens ?? transcript.completionTokens),
                cachedTokens: Int(transcript.cachedTokens), cost: transcript.cost))
    }
}
