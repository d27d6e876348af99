import OpenAIFormat
import Primitives

// How a backend comes up. Each step follows only if the previous one succeeded:
// 1. The health path answers.
// 2. The server describes its model.
// 3. After a failed job, or at the first start, it answers a short question, which also measures its speed.
// 4. At the first start, that answer is cut in the middle and continued, which tells whether failover to this
//    node can be exact.
// 5. At the first start, it is asked for what versions of such a server differ in (`ServerTests`).
// Where the server says which version it is, another one than the last is a first start again.
// Any failure means down, with the next probe after the backoff.
extension Backend {
    /// A question that any chat model answers with more than a few tokens.
    static let question = "What can you do?"
    static let measuredTokens = 32
    /// An answer in fewer pieces can't be cut in the middle.
    static let piecesMin = 4

    func check() {
        guard let server else { return }
        if !isOnTrial { health.startChecking() }
        checkNumber += 1
        let number = checkNumber
        let limits = configuration.limits
        Fetch.start(server.request(server.healthPath, timeout: limits.probe), on: http) {
            [weak self] result in
            guard let self, self.checkNumber == number else { return }
            switch result {
            case .failure(let failure): self.down(failure, needsTrial: false)
            case .answer(200, _): self.describe(number)
            case .answer(401, _), .answer(403, _), .answer(503, _):
                if let failure = result.failure { self.down(failure, needsTrial: false) }
            case .answer(let status, _):
                self.down(
                    BackendFailure(.error, "The model server's health check returned \(status)."),
                    needsTrial: false)
            }
        }
        rearm()
    }

    private func describe(_ number: Int) {
        guard let server else { return }
        let catalogue = ModelCatalogue(server: server, http: http, timeout: configuration.limits.probe)
        catalogue.list(only: configuration.model) { [weak self] listed in
            guard let self, self.checkNumber == number else { return }
            let models: [ModelDescription]
            switch listed {
            case .success(let list): models = list
            case .failure(let failure): return self.down(failure, needsTrial: false)
            }
            let wanted = self.configuration.model
            let found = models.first {
                wanted == nil || $0.name == wanted || $0.name == (wanted ?? "") + ":latest"
            }
            // llama.cpp serves one model and accepts any name for it.
            guard let found = found ?? (self.configuration.dialect == .llamaCpp ? models.first : nil) else {
                let words =
                    models.isEmpty && wanted == nil
                    ? "The model server lists no model."
                    : "The model server doesn't have \(wanted ?? "the model")."
                return self.down(BackendFailure(.modelMissing, words), needsTrial: false)
            }
            self.adopt(found)
            self.trial(number)
        }
    }

    private func adopt(_ found: ModelDescription) {
        var merged = found
        if let context = configuration.context {
            // More than the server has would fail at the server.
            merged.context = found.isContextAssumed ? context : min(context, found.context ?? context)
            merged.isContextAssumed = false
        }
        if let file = fileDescription {
            merged.digest = file.digest ?? merged.digest
            merged.digestOrigin = file.digest == nil ? merged.digestOrigin : .file
            merged.quantization = file.quantization ?? merged.quantization
        }
        description = merged
        forgetTests(ofAnotherVersion: found.version)
    }

    /// A server that comes back in another version may do more, or less.
    private func forgetTests(ofAnotherVersion version: String?) {
        guard configuration.measures, let version, version != testedVersion else { return }
        testedVersion = version
        tested = nil
        continues = configuration.dialect.canContinue ? nil : false
    }

    private var needsMeasuring: Bool { configuration.measures && (!meter.isMeasured || continues == nil) }

    /// Abilities that tests have to show.
    private var untested: Abilities {
        guard configuration.measures, tested == nil else { return [] }
        let embeds = abilities.contains(.embedding) || configuration.stated.contains(.embedding)
        return configuration.dialect.unknownAbilities.union(embeds ? .dimensions : [])
    }

    private func trial(_ number: Int) {
        guard needsTrial || needsMeasuring else { return testAbilities(number) }
        let tokens = needsMeasuring ? Self.measuredTokens : 1
        ask(number, tokens: tokens) { backend, pieces, failure in
            if let failure {
                // An embedding server can't answer a chat: nothing to measure, but it is healthy.
                guard failure.code == .invalidRequest || failure.code == .modelMissing else {
                    return backend.down(failure, needsTrial: true)
                }
                backend.answersChat = !backend.abilities.contains(.embedding)
                return backend.testAbilities(number)
            }
            backend.needsTrial = false
            backend.answersChat = true
            if backend.needsMeasuring, backend.continues == nil {
                backend.testContinuation(number, of: pieces)
            } else {
                backend.testAbilities(number)
            }
        }
    }

    /// Cuts the answer in the middle and has it continued: the result must equal the answer.
    private func testContinuation(_ number: Int, of pieces: [[UInt8]]) {
        guard configuration.dialect.canContinue, pieces.count >= Self.piecesMin else {
            continues = false
            return testAbilities(number)
        }
        let cut = pieces.count / 2
        let delivered = Array(pieces[..<cut].joined())
        ask(number, tokens: Self.measuredTokens - cut, delivered: delivered) { backend, rest, failure in
            let whole = Array(pieces.joined())
            backend.continues = failure == nil && (delivered + rest.joined()).starts(with: whole)
            backend.testAbilities(number)
        }
    }

    /// It is on sale from here on. What versions of such a server differ in is found out meanwhile, once, and offered then.
    private func testAbilities(_ number: Int) {
        tests?.cancel()
        tests = nil
        let untested = untested
        guard !untested.isEmpty, let server, let model else { return up() }
        let tests = ServerTests(
            server: server, model: model, http: http, timeout: configuration.limits.firstToken)
        self.tests = tests
        up()
        tests.run(tests.tests(showing: untested)) { [weak self, unowned tests] results in
            guard let self, self.tests === tests else { return }
            let isSound = !tests.wasDisturbed
            self.tests = nil
            guard isSound else { return }
            self.tested = ServerTests.shown(by: results)
            self.tellStatus()
        }
    }

    /// Asks the question greedily; `then` gets the pieces of the answer.
    private func ask(
        _ number: Int, tokens: Int, delivered: [UInt8] = [],
        then: @escaping (Backend, [[UInt8]], BackendFailure?) -> Void
    ) {
        let message = JSONTree.object([
            .init("role", .string("user")), .init("content", .string(Self.question)),
        ])
        let body = JSONTree.object([
            .init("messages", .array([message])), .init("temperature", .number("0")),
            .init("max_tokens", .number(String(tokens))),
        ])
        var pieces: [[UInt8]] = []
        let limits = configuration.limits
        let usual = max(meter.coldFirstTokenSeconds, meter.warmFirstTokenSeconds)
        let timeout = meter.answers > 0 ? limits.trial(usualSeconds: usual) : limits.firstToken
        let refused = startOwn(body: body, delivered: delivered, timeout: timeout) {
            [weak self] event in
            guard let self, self.checkNumber == number else { return }
            switch event {
            case .started: break
            case .text(let text, _): pieces.append(text)
            case .complex, .progress: break
            case .finished: then(self, pieces, nil)
            case .failed(let failure) where failure.code == .deadlineExceeded:
                let words =
                    "The model server answered no short question within \(timeout.milliseconds / 1_000) s."
                then(self, pieces, BackendFailure(.hung, words))
            case .failed(let failure): then(self, pieces, failure)
            }
        }
        if let refused { then(self, [], refused) }
    }

    private func up() {
        isOnTrial = false
        health.checked()
        tellStatus()
        rearm()
    }

    // MARK: The managed server

    func watch(_ managed: ManagedServer) {
        managed.onChange = { [weak self] change in
            guard let self else { return }
            switch change {
            case .described(let file):
                self.fileDescription = file
                if let description = self.description { self.adopt(description) }
                self.tellStatus()
            case .ready(let url):
                self.server = ServerAddress(
                    dialect: self.configuration.dialect, url: url, apiKey: self.configuration.apiKey)
                self.check()
            case .ended(let words):
                self.server = nil
                self.down(BackendFailure(.unreachable, words), needsTrial: false)
            }
        }
        managed.start()
    }
}
