import Credit
import FoundationEssentials
import Logging
import Market
import NodeConfiguration
import PeerCore
import Primitives
import Store
import UVLoop
import Wire

// What must outlive the process. The loop never waits for the disk: it hands values to the ledger's actor.
extension Node {
    func keep(_ receipt: Verified<Receipt>) {
        balances.add(receipt.record)
        if receipt.record.buyer == identity.publicKey { settleIfDue(receipt.record.worker) }
        sales.paid(receipt.record, at: SystemClock.wall)
        armSales()
        if unsaved.isEmpty { receiptTimer?.arm(after: unsaved.wait) }
        if unsaved.add(receipt) {
            log.error("receipts are lost: the database takes none, and no more fit in memory")
        }
    }

    /// Hands what is unsaved to the database. It stays in memory until the database has it.
    func saveReceipts() {
        let batch = unsaved.batch()
        guard !batch.isEmpty else { return }
        Task { [ledger] in
            let problem: (any Error)?
            do {
                try await ledger.keep(batch, at: SystemClock.wall)
                problem = nil
            } catch { problem = error }
            self.savedReceipts(batch, problem)
        }
    }

    private func savedReceipts(_ batch: [Verified<Receipt>], _ problem: (any Error)?) {
        if let problem {
            let isNews = unsaved.refused()
            if isMissing(problem) || !isNews { return armReceipts() }
            let known = LedgerError(path: settings.databasePath, problem)
            databaseProblem = "\(known), and receipts are only in memory: \(known.fix)"
            log.error(
                "receipts are kept in memory and tried again: \(known): \(known.fix)",
                metadata: ["cause": "\(problem)"])
        } else {
            let isNews = unsaved.saved(batch)
            isStored()
            if isNews { log.notice("the database takes receipts again") }
        }
        armReceipts()
    }

    private func armReceipts() {
        if !unsaved.isEmpty { receiptTimer?.arm(after: unsaved.wait) }
    }

    /// Whether the database's file is gone, which is said once, in the log and in the status.
    private func isMissing(_ problem: any Error) -> Bool {
        guard let known = problem as? LedgerError, known.isMissing else { return false }
        if !isFileMissing {
            isFileMissing = true
            databaseProblem = "\(known), and what happens since is only in memory: \(known.fix)"
            log.error("\(databaseProblem ?? known.description)")
        }
        return true
    }

    func complain(_ what: String, _ problem: any Error) {
        if isMissing(problem) { return }
        let known = LedgerError(path: settings.databasePath, problem)
        if databaseProblem == nil { databaseProblem = "\(what): \(known): \(known.fix)" }
        log.error("\(what): \(known): \(known.fix)", metadata: ["cause": "\(problem)"])
    }

    func isStored() {
        if isFileMissing { log.notice("the database is in its place again") }
        isFileMissing = false
        databaseProblem = nil
    }

    /// A node that has nothing to store would not notice that its file is gone, nor that it is back.
    private func checkFile() {
        Task { [ledger] in
            do {
                try await ledger.checkPlace()
                if self.isFileMissing { self.isStored() }
            } catch { self.complain("the database can't be found", error) }
        }
    }

    /// Peers are judged, and speeds measured, with every task, so the latest are stored together.
    func keep(_ record: SellerRecord) {
        armJudgements()
        pendingSellers[record.key] = record
    }

    func keep(_ record: BuyerRecord) {
        armJudgements()
        pendingBuyers[record.party] = record
    }

    func armJudgements() {
        if pendingSellers.isEmpty, pendingBuyers.isEmpty, pendingSpeeds.isEmpty {
            judgementTimer?.arm(after: .seconds(5))
        }
    }

    func saveJudgements() {
        for id in pendingSpeeds { rememberSpeed(id) }
        pendingSpeeds = []
        let (sellers, buyers) = takeJudgements()
        guard !sellers.isEmpty || !buyers.isEmpty else { return }
        Task { [ledger] in
            do {
                try await ledger.keep(sellers)
                try await ledger.keep(buyers)
                self.isStored()
            } catch { self.refused(sellers, buyers, error) }
        }
    }

    /// They are tried again, unless later judgements have replaced them or no more fit.
    private func refused(_ sellers: [SellerRecord], _ buyers: [BuyerRecord], _ problem: any Error) {
        complain(
            "the database refuses what is known of \(sellers.count) sellers and \(buyers.count) buyers",
            problem)
        for seller in sellers where pendingSellers[seller.key] == nil {
            if pendingSellers.count < Self.judgementsMax { pendingSellers[seller.key] = seller }
        }
        for buyer in buyers where pendingBuyers[buyer.party] == nil {
            if pendingBuyers.count < Self.judgementsMax { pendingBuyers[buyer.party] = buyer }
        }
        judgementTimer?.arm(after: .minutes(1))
    }

    /// Of sellers and of buyers that wait for a database that refuses them, each some 100 bytes.
    private static let judgementsMax = 8_192

    private func takeJudgements() -> ([SellerRecord], [BuyerRecord]) {
        defer { (pendingSellers, pendingBuyers) = ([:], [:]) }
        return (Array(pendingSellers.values), Array(pendingBuyers.values))
    }

    func keepSequence(_ model: String, _ sequence: UInt64) {
        Task { [ledger] in
            do { try await ledger.set("sequence/\(model)", Array(String(sequence).utf8)) } catch {
                self.complain("the database failed to store a sequence", error)
            }
        }
    }

    /// From joining on: a node that is killed and was told no bootstrap address must find the mesh again by its
    /// contacts.
    static let anchorsEvery = (first: Interval.seconds(2), then: Interval.minutes(1))

    func saveAnchors() {
        anchorTimer?.arm(after: Self.anchorsEvery.then)
        checkFile()
        let current = peer.anchors
        guard !current.isEmpty, current.map(\.signed) != anchors else { return }
        anchors = current.map(\.signed)
        Task { [ledger] in
            do {
                try await ledger.saveAnchors(current.map(\.signed), keys: current.map(\.record.publicKey))
            } catch {
                self.complain("the database failed to store the node's contacts", error)
            }
        }
    }

    func saveEverything() async {
        let receipts = unsaved.all
        let anchors = peer.anchors
        let (sellers, buyers) = takeJudgements()
        // What one part refuses says nothing of the others: a file that was moved away has taken each.
        func store(_ part: (Ledger) async throws -> Void) async {
            do { try await part(ledger) } catch {
                complain("the database failed to store the node's state", error)
            }
        }
        await store { try await $0.keep(receipts, at: SystemClock.wall) }
        await store { try await $0.saveAnchors(anchors.map(\.signed), keys: anchors.map(\.record.publicKey)) }
        await store { try await $0.keep(sellers) }
        await store { try await $0.keep(buyers) }
        for id in pendingSpeeds {
            guard let speed = speed(of: id) else { continue }
            let name = backends[id].settings.memoryName
            await store { try await $0.set(name, speed) }
        }
        let (sales, today) = (self.sales.take(), SalesJournal.day(of: SystemClock.wall))
        await store { try await $0.add(sales, today: today) }
        let usage = budgets.take()
        await store { try await $0.add(usage, today: today) }
        let transcripts = await Self.encoded(takeTranscripts())
        await store { try await $0.keep(transcripts: transcripts, at: SystemClock.wall) }
    }
}

extension Ledger {
    /// Opens the database of a node with these settings and reads what the node knew when it last stopped. A damaged file
    /// is set aside, and a new one begun: a node that can't read its past still works.
    public static func open(
        path: String, for settings: NodeSettings, owner: PublicKey, log: Logger
    ) async throws -> (Ledger, Node.Memory) {
        do {
            return try await opened(path, settings, owner)
        } catch  where isDamage(error) {
            let kept = try setAside(path: path)
            log.error(
                """
                the database \(path) was damaged, and is kept as \(kept): a new one is begun without its receipts, and the \
                key is the same. To go back to a backup, stop the node and restore it
                """, metadata: ["cause": "\(error)"])
            return try await opened(path, settings, owner)
        }
    }

    private static func opened(_ path: String, _ settings: NodeSettings, _ owner: PublicKey) async throws -> (
        Ledger, Node.Memory
    ) {
        let ledger = try Ledger(path: path, owner: owner)
        try await ledger.prune(at: SystemClock.wall)
        return (ledger, try await ledger.memory(for: settings))
    }

    /// What a node with these settings knew when it last stopped.
    private func memory(for settings: NodeSettings) throws -> Node.Memory {
        var memory = Node.Memory()
        memory.anchors = try anchors()
        for serve in settings.serve {
            let model = serve.soldAs
            if let bytes = try setting("sequence/\(model)"),
                let sequence = UInt64(String(decoding: bytes, as: UTF8.self))
            {
                memory.sequences.append((model, sequence))
            }
            if let bytes = try setting(serve.memoryName),
                let record = try? JSONDecoder().decode(SpeedRecord.self, from: Data(bytes))
            {
                memory.speeds[serve.memoryName] = record
            }
        }
        memory.sellers = try sellers()
        memory.buyers = try buyers()
        memory.sold = try sold()
        memory.usage = try usage()
        memory.settled = try settled()
        let kept = try balances()
        memory.balances = Balances(
            of: owner, byPeer: kept.byPeer.sorted { $0.value.magnitude > $1.value.magnitude },
            earned: kept.earned, spent: kept.spent)
        return memory
    }
}
