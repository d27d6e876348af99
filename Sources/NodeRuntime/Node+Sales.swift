import Cryptography
import FoundationEssentials
import Glibc
import Inference
import Logging
import Market
import MeshDocuments
import NodeConfiguration
import OpenAIFormat
import Primitives
import Store
import UVLoop
import Wire

// What this node sold and refused, and what became of its own tasks: a line of the log each, and the database.
extension Node {
    /// Together, because each is small.
    private static let salesEvery = Interval.seconds(5)

    func armSales() { if salesTimer?.deadline == .never { salesTimer?.arm(after: Self.salesEvery) } }

    /// A job has ended. `how` is the finish reason or the code of what ended it.
    func jobEnded(_ id: JobID, usage: BackendUsage?, _ how: String, _ message: String = "") {
        guard let job = sales.ended(id, usage: usage, at: SystemClock.wall) else { return }
        armSales()
        let duration = SystemClock.monotonic - job.startedAt
        let prompt = Int(clamping: usage?.promptTokens ?? 0)
        let cached = Int(clamping: usage?.cachedTokens ?? 0)
        let completion = usage.map { Int(clamping: $0.completionTokens) } ?? job.tokens
        log.info(
            usage == nil ? "an answer broke off" : "answered",
            metadata: [
                "model": "\(job.model)", "buyer": "\(NodeID(of: job.buyer).short)",
                "task": "\(job.task.description.prefix(12))", "end": "\(how)",
                "prompt_tokens": .stringConvertible(prompt),
                "completion_tokens": .stringConvertible(completion),
                "duration_ms": .stringConvertible(duration.milliseconds),
                "price_ucr": .stringConvertible(
                    Self.cost(job.price, prompt, cached, completion).microCredits),
            ].merging(message.isEmpty ? [:] : ["why": "\(message)"]) { $1 })
    }

    private static func cost(_ price: Price, _ prompt: Int, _ cached: Int, _ completion: Int) -> Money {
        Scoring.cost(
            price, prompt: UInt64(clamping: prompt), cached: UInt64(clamping: cached),
            completion: UInt64(clamping: completion))
    }

    /// A call for bids was declined. Anybody can call as often as he likes, so that lines are limited.
    func refused(_ buyer: PublicKey, _ model: String, _ reason: Reason) {
        let isSold = backends.contains { $0.model == model }
        sales.refused(isSold ? model : "", reason, at: SystemClock.wall)
        armSales()
        guard log.logLevel <= .info else { return }
        guard refusalLines.take(SystemClock.monotonic) else { return refusalsUnlogged += 1 }
        var details: Logger.Metadata = [
            "model": "\(model)", "buyer": "\(NodeID(of: buyer).short)", "reason": "\(reason.refusal)",
        ]
        if refusalsUnlogged > 0 { details["and_more_before"] = .stringConvertible(refusalsUnlogged) }
        refusalsUnlogged = 0
        log.info("refused a call for bids", metadata: details)
    }

    // MARK: Own tasks

    /// Transcripts that are stored at a time. Of more tasks in `salesEvery` only the latest are known after a restart.
    private static let transcriptsMax = 64

    func ended(_ task: TaskID) {
        budgets.ended(task, peer.transcript(task), at: SystemClock.wall)
        if endedTasks.count >= Self.transcriptsMax { endedTasks.removeFirst() }
        endedTasks.append(task)
        armSales()
    }

    func takeTranscripts() -> [TaskDocument] {
        defer { endedTasks = [] }
        return endedTasks.compactMap { peer.transcript($0) }.map(document)
    }

    func document(_ transcript: TaskTranscript) -> TaskDocument {
        TaskDocument(
            transcript, via: settings.name.isEmpty ? identity.nodeID.short : settings.name,
            name: name(of:label:))
    }

    /// Off the loop.
    @concurrent static func encoded(_ documents: [TaskDocument]) async -> [(task: String, document: [UInt8])]
    {
        documents.compactMap { document in
            (try? JSONEncoder().encode(document)).map { (document.task, Array($0)) }
        }
    }

    /// Stored tasks whose ids begin with `prefix`, two at most.
    func storedTasks(_ prefix: String) async -> [TaskDocument] {
        guard prefix.utf8.allSatisfy({ (48...57).contains($0) || (97...122).contains($0) }) else { return [] }
        let stored = (try? await ledger.transcripts(prefix: prefix)) ?? []
        return stored.compactMap { try? JSONDecoder().decode(TaskDocument.self, from: Data($0)) }
    }

    // MARK: Storing

    func saveSales() {
        let (sales, usage, documents) = (self.sales.take(), budgets.take(), takeTranscripts())
        guard !sales.isEmpty || !usage.isEmpty || !documents.isEmpty else { return }
        let today = SalesJournal.day(of: SystemClock.wall)
        Task { [ledger] in
            do {
                try await ledger.add(sales, today: today)
            } catch {
                self.sales.giveBack(sales)
                self.complain("the database refuses what was sold", error)
                self.budgets.giveBack(usage)
                self.salesTimer?.arm(after: .minutes(1))
                return
            }
            do {
                try await ledger.add(usage, today: today)
            } catch {
                self.budgets.giveBack(usage)
                self.complain("the database refuses what clients used", error)
                self.salesTimer?.arm(after: .minutes(1))
            }
            do {
                try await ledger.keep(transcripts: Self.encoded(documents), at: SystemClock.wall)
                self.isStored()
            } catch { self.complain("the database refuses transcripts of tasks", error) }
        }
    }

    /// What was ever sold; nil while the database can't tell. At most a second old: whoever watches this node asks often.
    func soldUntilNow() async -> SalesDocument? {
        let now = SystemClock.monotonic
        if let (document, at) = soldDocument, now - at < .seconds(1) { return document }
        guard var all = try? await ledger.sales() else { return nil }
        all += sales.pending
        let document = await Self.document(all, names, own: identity.publicKey, settings.name)
        soldDocument = (document, now)
        return document
    }

    /// Off the loop: there may be thousands of sums.
    @concurrent private static func document(
        _ sales: Sales, _ names: NodeNames, own: PublicKey, _ ownName: String
    ) async -> SalesDocument {
        SalesDocument(sales, today: SalesJournal.day(of: SystemClock.wall)) { key in
            names.name(of: key).map { ($0, true) } ?? (key == own ? ownName : "", false)
        }
    }
}
