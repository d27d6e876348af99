import OpenAIFormat
import Primitives

/// What a model server can do, tried out: for `starling check`.
public struct ModelServerCheck: Sendable {
    public var server: FoundModelServer
    /// The model that was tried; nil: the server has none, or not the one asked for.
    public var model: ModelDescription?
    public var results: [TestResult] = []

    /// For what the driver would offer it, without what its owner states.
    public var abilities: Abilities {
        let dialect = server.dialect
        var abilities: Abilities = [.chat]
        abilities.formUnion(dialect.knownAbilities)
        abilities.formUnion(
            ServerTests.shown(by: results).intersection(dialect.unknownAbilities.union(.dimensions)))
        abilities.formUnion((model?.reports ?? []).intersection([.tools, .images, .embedding]))
        if dialect.canContinue,
            results.contains(where: { $0.name == "last assistant message" && $0.outcome == .yes })
        {
            abilities.insert(.assistantLast)
        }
        return abilities
    }

    /// Blocks its thread while it tries the server at `url`; nil: none answers there.
    public static func run(
        _ url: String, model wanted: String? = nil, dialect: BackendDialect? = nil, apiKey: String? = nil,
        certificates: String? = nil, timeout: Interval = .seconds(60)
    ) -> ModelServerCheck? {
        var check: ModelServerCheck?
        onOwnLoop { http, isDone in
            let address = ServerAddress(
                dialect: .openAI, url: url, apiKey: apiKey, certificates: certificates)
            detect(address, http: http, timeout: timeout, explains: true) { found in
                guard var found else { return isDone() }
                if let dialect { found.dialect = dialect }
                let model = found.models.first {
                    wanted == nil || $0.name == wanted || $0.name == (wanted ?? "") + ":latest"
                }
                check = ModelServerCheck(server: found, model: model)
                guard let model else { return isDone() }
                let tests = ServerTests(
                    server: ServerAddress(
                        dialect: found.dialect, url: url, apiKey: apiKey, certificates: certificates),
                    model: model.name, http: http, timeout: timeout)
                tests.run(tests.all + tests.errors(context: model.context)) { results in
                    check?.results = results
                    isDone()
                }
            }
        }
        return check
    }
}
