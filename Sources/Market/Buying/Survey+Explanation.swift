import Primitives
import Wire

/// The explanation of a refusal, in one sentence for the client.
extension Survey {
    /// Why no seller takes the task: the commonest reason among the model's sellers, in a sentence that names
    /// the fix. Sellers that the client's own preferences exclude are the reason only if they are all.
    func explanation() -> TaskFailure {
        guard sellers > 0 else { return noneSells() }
        // What sellers that live say can be helped, however many dead ones are listed beside them; and one that is only
        // busy is worth waiting for.
        let dead: [Reason] = [.unreachable, .leaving, .notServed]
        var commonest = commonest(Reason.filters.filter { !dead.contains($0) }) ?? commonest(dead) ?? .busy
        if nodes(.busy) > 0, nodes(.busy) + dead.reduce(0, { $0 + self.sellers($1) }) >= allowed {
            commonest = .busy
        }
        var failure = TaskFailure(commonest, message: sentence(commonest))
        failure.nearest = nearest(commonest)
        return failure
    }

    /// nil: none of these is a reason.
    private func commonest(_ reasons: [Reason]) -> Reason? {
        let counted = reasons.filter {
            ![.notSampled, .asked].contains($0) && ($0 != .excluded || allowed == 0) && sellers($0) > 0
        }
        return counted.max { (sellers($0), $1.position) < (sellers($1), $0.position) }
    }

    /// Of the model's sellers.
    private func sellers(_ reason: Reason) -> Int {
        reason == .notServed ? nodes(reason) - (known - sellers) : nodes(reason)
    }

    /// That workers found the request longer than their context: in their words, and with the largest on offer.
    func tooLong(_ words: String) -> String {
        guard let largestContext, !words.contains("\(largestContext)") else { return words }
        let stop = words.hasSuffix(".") || words.isEmpty ? "" : "."
        return "\(words)\(stop) The largest context on offer for \(model) is \(largestContext) tokens."
    }

    private func noneSells() -> TaskFailure {
        let instead =
            alternatives.isEmpty ? "" : " On offer: \(alternatives.map(\.model).joined(separator: ", "))."
        if denied > 0 {
            let sell = denied == 1 ? "1 node sells" : "\(denied) nodes sell"
            return TaskFailure(
                .excluded,
                message: "\(sell) \(model), and `deny` in this node's configuration excludes"
                    + " \(denied == 1 ? "it" : "them").\(instead)")
        }
        guard catalogueKnows else {
            return TaskFailure(
                .modelNotFound, message: "No node sells a model named \(model).\(instead)")
        }
        return TaskFailure(.unreachable, message: "No node that sells \(model) can be found now.\(instead)")
    }

    private func sentence(_ reason: Reason) -> String {
        let one = allowed == 1
        switch reason {
        case .overMaxPrice, .belowReserve: return priceSentence()
        case .tooSlow where startsTooLate:
            let start = quickest.map { ", the quickest after \($0.speed.firstTokenMilliseconds) ms" } ?? ""
            return "No \(node) that sells \(model) starts its answers soon enough: \(sellIt)\(start)."
        case .tooSlow:
            let speed = fastest.map {
                ", the fastest at \(Self.decimal(Int64($0.speed.millitokensPerSecond), 1_000, 0)) tokens/s"
            }
            return "No \(node) that sells \(model) is fast enough: \(sellIt)\(speed ?? "")."
        case .contextTooSmall:
            return "The request is too long for every \(node) that sells \(model)."
                + (longest > 0 ? " The largest context on offer is \(longest) tokens." : "")
        case .lacksParameter:
            let needs = lacking.isEmpty ? "what this request needs" : Nearest.list(lacking)
            return "\(sell), but \(one ? "without" : "none with") \(needs)."
        case .excluded:
            return
                "\(sellers == 1 ? "1 node sells" : "\(sellers) nodes sell") \(model), and the request's provider"
                + " preferences exclude \(sellers == 1 ? "it" : "all of them")."
        case .untrusted, .notAllowed, .protocolViolation:
            if refusing > 0, refusing == nodes(.untrusted) {
                return
                    "\(sell), and \(one ? "its operator serves" : "their operators serve") other nodes only."
            }
            return "\(sell), \(one ? "which is not" : "none") trusted enough for this request."
        case .unreachable, .backendDown, .leaving, .unspecified, .workerLost, .stalled, .backendError,
            .invalidRequest, .contentFilter, .noBid, .deadlineExceeded, .tooManyTasks, .overBudget,
            .cancelled:
            if down > 0, down == nodes(.unreachable) {
                return "\(sell), and \(one ? "its model server is" : "their model servers are") down."
            }
            return "\(sell), and \(one ? "it does not answer" : "none of them answers")."

        case .notAsked:
            return "\(sell), and this node has too many requests of its own under way to ask now."
                + " Try again in a moment."
        case .notServed, .modelNotFound:
            return "\(sell), and \(one ? "it is not" : "none is") ready to serve it now."
        case .busy, .notSampled, .asked, .paused, .holdLimit, .tooLate, .overRate, .unknownBid:
            if paused > 0, paused == nodes(.busy) {
                return "\(sell), and \(one ? "it is paused" : "none takes new work now: \(paused) paused")."
            }
            if late > 0, late == nodes(.busy) {
                return "\(sell), and \(one ? "its queue is" : "their queues are") too long for the request's"
                    + " deadline."
            }
            if shareUsed > 0, shareUsed == nodes(.busy) {
                return "\(sell), and \(one ? "it has" : "none has") no slot left for this node now: sellers"
                    + " keep slots for those that paid them for more."
            }
            if requirements?.request.isQuote == true {
                return
                    "\(sell), and \(one ? "it has no" : "none has a") free slot now, or no quote left for this node:"
                    + " a seller gives a node only some in a second."
            }
            let others = allowed - nodes(.busy)
            if others > 0, nodes(.unreachable) == others {
                let busy = nodes(.busy)
                return "\(sell): \(busy) \(busy == 1 ? "has" : "have") no free slot now, and \(others)"
                    + " \(others == 1 ? "does" : "do") not answer."
            }
            return "\(sell), and \(one ? "it has no" : "none has a") free slot now."
        }
    }

    private var node: String { allowed < sellers ? "allowed node" : "node" }

    /// `3 nodes sell wren-m`, or what the preferences leave of them.
    private var sell: String {
        let sell = sellers == 1 ? "1 node sells" : "\(sellers) nodes sell"
        return "\(sell) \(model)"
            + (allowed < sellers ? ", the request's provider preferences allow \(allowed)" : "")
    }

    private var sellIt: String {
        (sellers == 1 ? "1 sells it" : "\(sellers) sell it")
            + (allowed < sellers ? ", the request's provider preferences allow \(allowed)" : "")
    }

    private func priceSentence() -> String {
        let instead =
            alternatives.first.map { ", or use \($0.model) (\(Self.credits($0.outputPrice)))" } ?? ""
        guard let cheapest, let limit = nearest(.overMaxPrice) else {
            return "No \(node) sells \(model) within the request's limits of price."
        }
        let name = cheapest.publicKey.inWords(label: cheapest.name)
        switch limit.parameter {
        case Self.maxCost:
            return
                "No \(node) does this task of \(model) within \(Self.credits((preferences.maxCost ?? .zero).microCredits)) cr."
                + " \(sellIt); \(name) asks about \(Self.credits(limit.value)) cr."
                + " Raise \(limit.parameter) to \(Self.credits(limit.value))\(instead)."
        default:
            let input = limit.parameter == Self.maxPromptPrice
            let asked = input ? preferences.maxInputPrice : preferences.maxOutputPrice
            let least = input ? cheapest.price.input : cheapest.price.output
            return "No \(node) sells \(model) at \(Self.credits(asked ?? 0)) cr per million"
                + " \(input ? "input" : "output") tokens. \(sellIt), from \(Self.credits(least)) (\(name))."
                + " Raise \(limit.parameter) to \(Self.credits(least))\(instead)."
        }
    }

    static let maxPromptPrice = "provider.max_price.prompt"
    static let maxCompletionPrice = "provider.max_price.completion"
    static let maxCost = "provider.max_cost"
    /// Whether the fastest would do for the throughput, so that the limit of the latency is what excludes.
    private var startsTooLate: Bool {
        guard preferences.maxFirstTokenMilliseconds != nil else { return false }
        return preferences.minMillitokensPerSecond.map { least in
            fastest.map { $0.speed.millitokensPerSecond >= least } ?? false
        } ?? true
    }

    static let maxLatency = "provider.preferred_max_latency"
    static let minThroughput = "provider.preferred_min_throughput"

    /// The smallest change that would have admitted a seller.
    private func nearest(_ reason: Reason) -> NearestOffer? {
        if reason == .overMaxPrice, let offer = cheapest {
            if let most = preferences.maxOutputPrice, offer.price.output > most {
                return near(offer, Self.maxCompletionPrice, offer.price.output)
            }
            if let most = preferences.maxInputPrice, offer.price.input > most {
                return near(offer, Self.maxPromptPrice, offer.price.input)
            }
            return near(
                offer, Self.maxCost,
                basis.expect(offer, millitrust: 1_000, SpeedBelief()).estimate.microCredits)
        }
        if reason == .tooSlow, startsTooLate, let offer = quickest {
            return near(offer, Self.maxLatency, Int64(offer.speed.firstTokenMilliseconds) + 1)
        }
        if reason == .tooSlow, let offer = fastest {
            return near(offer, Self.minThroughput, Int64(offer.speed.millitokensPerSecond))
        }
        return nil
    }

    private func near(_ offer: Offer, _ parameter: String, _ value: Int64) -> NearestOffer {
        NearestOffer(worker: offer.publicKey, name: offer.name, parameter: parameter, value: value)
    }

    /// 1 600 000 µcr per million tokens are 1.60 credits: at least two decimals, more only if the value has them.
    static func credits(_ micro: Int64) -> String { decimal(micro, 1_000_000, 2) }

    private static func decimal(_ value: Int64, _ unit: Int64, _ least: Int) -> String {
        var digits = ""
        var rest = value.magnitude % UInt64(unit)
        var scale = UInt64(unit) / 10
        while scale > 0 && (rest > 0 || digits.count < least) {
            digits += "\(rest / scale)"
            rest %= scale
            scale /= 10
        }
        let whole = value.magnitude / UInt64(unit)
        return (value < 0 ? "-" : "") + "\(whole)" + (digits.isEmpty ? "" : ".\(digits)")
    }
}
