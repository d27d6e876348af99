import OpenAIFormat

/// The models that a server lists at `/v1/models`, in whatever form it does.
struct ModelList {
    /// As they stand in the list, each name once.
    let entries: [JSONTree]

    /// nil: the answer is no list of models.
    init?(_ answer: JSONTree) {
        // OpenAI's form; a bare list, as Together's; and Ollama's own.
        guard let list = answer["data"]?.elements ?? answer.elements ?? answer["models"]?.elements else {
            return nil
        }
        var names: Set<String> = []
        entries = list.prefix(ModelCatalogue.modelsMax).filter { entry in
            Self.name(entry).map { names.insert($0).inserted } ?? false
        }
    }

    static func name(_ entry: JSONTree) -> String? {
        let name = entry["id"]?.text ?? entry["name"]?.text ?? entry["model"]?.text ?? entry.text
        return name?.isEmpty == false ? name : nil
    }

    /// Why an answer to `/v1/models` is no list, and what to check; nil: it is one.
    static func problem(_ answer: Fetch.Result) -> BackendFailure? {
        switch answer {
        case .answer(404, _), .answer(405, _):
            BackendFailure(
                .error,
                "The server has no /v1/models: its address must be the base of an API like OpenAI's, without a path after it."
            )
        case .answer(200, _):
            if let tree = answer.json {
                ModelList(tree) == nil
                    ? BackendFailure(
                        .garbage, "The server's /v1/models is no list of models: its JSON has no `data`.")
                    : nil
            } else {
                BackendFailure(
                    .garbage, "The server's /v1/models is no JSON: what answers there is no model server.")
            }
        case .answer, .failure: answer.failure
        }
    }
}
