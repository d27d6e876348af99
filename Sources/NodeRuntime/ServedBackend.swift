import FoundationEssentials
import Inference
import Market
import MeshDocuments
import NodeConfiguration
import OpenAIFormat
import Primitives
import UVLoop
import Wire

/// What is kept of a model's speed between starts.
public struct SpeedRecord: Codable, Sendable {
    public var meter: SpeedMeter
    public var continues: Bool
    /// What tests showed; nil: not tested.
    public var abilities: Abilities?
    /// The server's version that was tested; nil: it doesn't say.
    public var version: String?
    public init(meter: SpeedMeter, continues: Bool, abilities: Abilities? = nil, version: String? = nil) {
        self.meter = meter
        self.continues = continues
        self.abilities = abilities
        self.version = version
    }
}

/// One entry of `serve:` and its driver.
struct ServedBackend {
    let settings: ServeSettings
    let id: Int
    var driver: Backend?
    var status: BackendStatus?
    private(set) var terms: TermsSettings
    private var former: ServedModel.Former?
    let remembered: SpeedRecord?
    /// When the model server takes requests again, by its own word; and how often it said so in a row.
    private var busyUntil: MonotonicTime?
    /// The same, for people.
    private var busyUntilWall = WallTime(milliseconds: 0)
    private var busyInRow: Int64 = 0

    init(settings: ServeSettings, id: Int, memory: Node.Memory) {
        self.settings = settings
        self.id = id
        terms = settings.terms
        remembered = memory.speeds[settings.memoryName]
    }

    /// The name it is sold as.
    var model: String { settings.soldAs }

    /// Where the model is served, for the operator alone.
    var place: String { settings.file ?? settings.url }

    var price: Price {
        Price(input: terms.inputPrice, cachedInput: terms.cachedInputPrice, output: terms.outputPrice)
    }

    /// How long after a new offer buyers may still hold the previous one, and refuse bids above it.
    private static let offerSpreads = Interval.seconds(10)

    mutating func change(to new: TermsSettings, _ now: MonotonicTime) {
        let offered = terms.policy.price(price, taken: 1, of: 1)
        let before = former.flatMap { now < $0.until ? offered.lower($0.price) : nil } ?? offered
        former = ServedModel.Former(before, until: now + Self.offerSpreads)
        terms = new
    }

    /// Minutes until its quiet hours end; nil: it has none now.
    func quietMinutes(_ now: WallTime) -> Int? {
        if terms.quiet.isEmpty { return nil }
        let offset = SystemClock.localOffset(at: now)
        return terms.quiet.compactMap { $0.left(at: now, offset: offset) }.max()
    }

    var configuration: BackendConfiguration {
        let place: BackendConfiguration.Place
        let dialect: BackendDialect
        switch settings.backend {
        case .managed:
            dialect = .llamaCpp
            place = .managed(settings.managedOptions)
        case .llamaCpp:
            dialect = .llamaCpp
            place = .url(settings.url)
        case .vllm:
            dialect = .vllm
            place = .url(settings.url)
        case .ollama:
            dialect = .ollama
            place = .url(settings.url)
        case .openai:
            dialect = .openAI
            place = .url(settings.url)
        }
        var configuration = BackendConfiguration(
            id: id, dialect: dialect, place: place,
            model: settings.backend == .managed ? nil : settings.model,
            apiKey: settings.apiKey, slots: settings.slots,
            context: settings.context.map { UInt32(clamping: $0) },
            speed: Double(settings.speed), extraFields: settings.allowFields, measures: settings.measure)
        configuration.certificates = settings.certificates
        for feature in settings.features {
            switch feature {
            case .tools: configuration.stated.insert(.tools)
            case .images: configuration.stated.insert(.images)
            case .embedding: configuration.stated.insert(.embedding)
            }
        }
        configuration.requestLimits = settings.limits.applied(to: .usual)
        return configuration
    }

    /// Bounds of the time for which a model server counts as busy: without a word of its own it doubles from the first,
    /// each time. Shorter: it is hammered; longer: it is left idle.
    private static let busyMin = Interval.seconds(1)
    private static let busyMax = Interval.minutes(5)

    /// The model server refused a job because it has too much to do.
    mutating func wasRefused(retryAfter: Interval?, _ now: Now) {
        // What ran together was refused together.
        if let busyUntil, now.monotonic < busyUntil { return }
        let usual = Self.busyMin * (1 << min(busyInRow, 8))
        busyInRow += 1
        let wait = max(Self.busyMin, min(retryAfter ?? usual, Self.busyMax))
        (busyUntil, busyUntilWall) = (now.monotonic + wait, now.wall + wait)
    }

    /// The model server answered.
    mutating func hasAnswered() { (busyUntil, busyInRow) = (nil, 0) }

    /// Tasks that may wait for a slot.
    var places: Int { settings.queue ?? ServeSettings.usualQueue(slots: settings.slots) }

    /// What the market may sell of it now.
    func served(isPaused: Bool, isLeaving: Bool, _ now: WallTime) -> ServedModel? {
        // A backend that was never up has nothing to offer yet.
        guard let status, let description = status.description else { return nil }
        let availability: ServedModel.Availability
        switch status.state {
        case _ where isLeaving: availability = .leaving
        case _ where isPaused || quietMinutes(now) != nil: availability = .paused
        case .up: availability = busyUntil.map { .busy(until: $0) } ?? .up
        case .starting: availability = .down("starting")
        case .down(let failure): availability = .down(failure.message)
        }
        let speed = status.announced
        return ServedModel(
            model: model,
            price: price,
            slots: settings.slots,
            places: places,
            context: description.context ?? UInt32(clamping: settings.context ?? 4_096),
            features: status.abilities,
            continues: status.continues, digest: description.digest,
            digestSource: description.digest == nil
                ? .none : description.digestOrigin == .file ? .file : .backend,
            quantization: description.quantization ?? settings.name.quantization ?? "",
            speed: Speed(
                firstTokenMilliseconds: Self.milliseconds(speed.firstTokenSeconds),
                millitokensPerSecond: UInt32(clamping: Int(min(speed.tokensPerSecond, 1e6) * 1000)),
                coldFirstTokenMilliseconds: Self.milliseconds(speed.coldFirstTokenSeconds),
                promptTokensPerSecond: UInt32(clamping: Int(min(max(speed.prefillTokensPerSecond, 0), 1e8)))),
            available: availability, policy: terms.policy, former: former)
    }

    private static func milliseconds(_ seconds: Double) -> UInt32 {
        UInt32(clamping: Int((min(max(seconds, 0), 1e6) * 1000).rounded(.up)))
    }

    /// Its line in `starling status`.
    func document(
        _ record: BidderRecord, busy: Int, waiting: Int, _ time: Now
    ) -> ServedModelDocument {
        let now = time.monotonic
        let state: String
        var (problem, busyWall): (String?, String?)
        switch status?.state {
        case .up:
            let isBusy = busyUntil.map { now < $0 } ?? false
            state = isBusy ? "busy" : "ok"
            if isBusy { busyWall = Timestamp.text(milliseconds: busyUntilWall.milliseconds) }
        case .down(let failure):
            state = "down"
            problem = failure.message
        case .starting, nil: state = "starting"
        }
        let counts = record.models[model] ?? CallCounts()
        return ServedModelDocument(
            model: model, slots: settings.slots, slotsBusy: busy, places: places, waiting: waiting,
            backend: .init(
                kind: settings.backend.rawValue, url: settings.url, state: state, busyUntil: busyWall,
                error: problem, differences: status?.description.map(settings.differences) ?? []),
            tokensPerSecond: status.map(\.announced.tokensPerSecond),
            firstTokenMilliseconds: status.map { Int(Self.milliseconds($0.announced.firstTokenSeconds)) },
            price: price.document,
            terms: TermsDocument(
                surge: Double(terms.surge) / 1_000, reserve: terms.reserve,
                tasksPerMinute: .init(buyer: terms.buyerRate, network: terms.networkRate),
                quiet: terms.quiet.map(\.description), quietMinutes: quietMinutes(time.wall),
                allowed: terms.allow.count, denied: terms.deny.count),
            bids: .init(
                calls: counts.calls, declined: counts.declines, made: counts.bids, won: counts.won,
                lost: counts.lost))
    }
}

extension TermsSettings {
    var policy: SalePolicy {
        SalePolicy(
            surge: surge, reserve: reserve,
            tasksPerMinute: SalePolicy.PerParty(buyer: buyerRate, network: networkRate), allowed: allow,
            denied: deny)
    }
}

extension ServeSettings {
    /// `queue:` where the file doesn't state it.
    public static func usualQueue(slots: Int) -> Int { ServedModel.places(slots: slots) }

    /// The name under which the ledger keeps the speed of this model at this server.
    var memoryName: String { "speed/\(backend.rawValue)/\(file ?? url)/\(model)/\(slots)" }

    /// Context of a slot in tokens, unless the file states one.
    private static let managedContext = 512

    var managedOptions: ManagedServerOptions {
        ManagedServerOptions(
            launcher: server.map { .binary(path: $0) } ?? ManagedServerOptions.Launcher.projects,
            file: file ?? "", slots: slots,
            context: context ?? Self.managedContext, threads: threads,
            embeddings: features.contains(.embedding))
    }
}

extension ServeSettings {
    /// Why a managed server can't be started whatever its file is, and the fix; nil: it can.
    public var launcherProblem: (problem: String, fix: String)? {
        guard backend == .managed else { return nil }
        let files = FileManager.default
        switch managedOptions.launcher {
        case .binary(let path):
            guard !files.isExecutableFile(atPath: path) else { return nil }
            return (
                "\(soldAs) is to be served by \(path), which is no program",
                "correct `server:` of its `serve` entry: the path of llama.cpp's llama-server"
            )
        case .python(let interpreter, let script):
            guard files.fileExists(atPath: script) else {
                return (
                    "\(soldAs) is to be served by a managed llama.cpp, and scripts/llama-server.py, which starts it, is"
                        + " neither above the program nor above \(files.currentDirectoryPath)",
                    "set STARLING_HOME to Starling's folder, or name your own llama-server: `server:` of the `serve` entry"
                )
            }
            guard !files.isExecutableFile(atPath: interpreter) else { return nil }
            // It lies in the folder's scripts.
            let folder = script.split(separator: "/", omittingEmptySubsequences: false).dropLast(2)
                .joined(separator: "/")
            return (
                "\(soldAs) is to be served by a managed llama.cpp, and \(interpreter), which runs it, isn't there",
                "run \(folder)/scripts/setup"
            )
        }
    }
}

extension ManagedServerOptions.Launcher {
    /// The project's own launcher. Its folder is STARLING_HOME, or the nearest folder that holds it above the
    /// program or the working folder. If there is none, the server fails to start with these paths in its
    /// error.
    static var projects: ManagedServerOptions.Launcher {
        let files = FileManager.default
        var starts = [files.currentDirectoryPath]
        if let program = try? files.destinationOfSymbolicLink(atPath: "/proc/self/exe") {
            starts.insert(program, at: 0)
        }
        if let home = ProcessInfo.processInfo.environment["STARLING_HOME"] {
            starts.insert(home + "/.", at: 0)
        }
        for start in starts {
            var folder = start
            while folder.count > 1 {
                let script = folder + "/scripts/llama-server.py"
                if files.fileExists(atPath: script) {
                    return .python(interpreter: folder + "/.cache/venv/bin/python", script: script)
                }
                folder = folder.parentPath
            }
        }
        return .python(interpreter: ".cache/venv/bin/python", script: "scripts/llama-server.py")
    }
}

extension RequestLimitSettings {
    /// What the file doesn't state stays.
    func applied(to usual: RequestLimits) -> RequestLimits {
        RequestLimits(
            schemaBytes: schemaBytes ?? usual.schemaBytes, schemaDepth: schemaDepth ?? usual.schemaDepth,
            schemaValues: schemaValues ?? usual.schemaValues, stops: stops ?? usual.stops,
            stopBytes: usual.stopBytes, logitBiases: logitBiases ?? usual.logitBiases,
            images: images ?? usual.images, imageBytes: imageBytes ?? usual.imageBytes)
    }
}
