import Primitives

@testable import Wire

/// Values in the form of the vectors: set fields by their name in the schema, bytes in hex, 64-bit integers
/// as strings, enums by name. Written independently of the codec, so that swapped fields are detected.
struct Fields {
    private var object: [String: JSONValue] = [:]
    var json: JSONValue { .object(object) }

    mutating func put(_ name: String, _ value: UInt32) {
        if value != 0 { object[name] = .number(Int64(value)) }
    }
    mutating func put(_ name: String, wide value: some BinaryInteger) {
        if value != 0 { object[name] = .string("\(value)") }
    }
    mutating func put(_ name: String, _ value: Bool) { if value { object[name] = .bool(true) } }
    mutating func put(_ name: String, _ value: String) { if !value.isEmpty { object[name] = .string(value) } }
    mutating func put(_ name: String, _ value: [UInt8]) {
        if !value.isEmpty { object[name] = .string(hex(value)) }
    }
    mutating func put(_ name: String, _ value: Bytes32?) { if let value { put(name, value.bytes) } }
    mutating func put(_ name: String, _ value: TaskID) { put(name, value.bytes) }
    mutating func put(_ name: String, _ value: PublicKey) { put(name, value.value.bytes) }
    mutating func put(_ name: String, _ value: WallTime) { put(name, wide: value.milliseconds) }
    mutating func put(_ name: String, _ values: [String]) { put(name, values.map { .string($0) }) }
    mutating func put(_ name: String, _ values: [JSONValue]) {
        if !values.isEmpty { object[name] = .array(values) }
    }
    mutating func put(_ name: String, _ value: JSONValue?) { object[name] = value }
    mutating func put(nonEmpty name: String, _ value: JSONValue) {
        if value != .object([:]) { object[name] = value }
    }
    mutating func put(_ name: String, _ value: some RawRepresentable<UInt32>, names: String) {
        let all = names.split(separator: " ")
        if value.rawValue != 0 { object[name] = .string(String(all[Int(value.rawValue)])) }
    }
}

func fields(_ fill: (inout Fields) -> Void) -> JSONValue {
    var fields = Fields()
    fill(&fields)
    return fields.json
}

private let reachabilities =
    "REACHABILITY_UNKNOWN REACHABILITY_DIRECT REACHABILITY_OUTBOUND REACHABILITY_DATAGRAMS"
private let declines = """
    DECLINE_UNSPECIFIED DECLINE_BUSY DECLINE_PAUSED DECLINE_BACKEND_DOWN DECLINE_OVER_MAX_PRICE DECLINE_TOO_SLOW \
    DECLINE_LACKS_PARAMETER DECLINE_NOT_SERVED DECLINE_CONTEXT_TOO_SMALL DECLINE_LEAVING DECLINE_UNTRUSTED \
    DECLINE_HOLD_LIMIT DECLINE_TOO_LATE
    """

func describe(_ record: SignedRecord) -> JSONValue {
    fields {
        $0.put("body", record.body)
        $0.put("signature", record.signature.bytes)
    }
}

func describe(_ endpoint: Endpoint) -> JSONValue {
    func big(_ word: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * $0)) } }
    let address = big(endpoint.high) + big(endpoint.low)
    return fields {
        $0.put("address", endpoint.isIPv4 ? Array(address.suffix(4)) : address)
        $0.put("port", UInt32(endpoint.port))
    }
}

func describe(_ price: Price) -> JSONValue {
    fields {
        $0.put("input", wide: price.input)
        $0.put("cached_input", wide: price.cachedInput)
        $0.put("output", wide: price.output)
    }
}

func describe(_ contact: Contact) -> JSONValue {
    fields {
        $0.put("public_key", contact.publicKey)
        $0.put("endpoints", contact.endpoints.map(describe))
        $0.put("reachability", contact.reachability, names: reachabilities)
        $0.put("sequence", wide: contact.sequence)
        $0.put("issued_at_ms", contact.issuedAt)
        $0.put("name", contact.name)
        $0.put("versions", contact.versions.map { .number(Int64($0)) })
    }
}

func describe(_ registration: Registration) -> JSONValue {
    fields {
        $0.put("public_key", registration.publicKey)
        $0.put("topic", registration.topic.value)
        $0.put("endpoints", registration.endpoints.map(describe))
        $0.put("issued_at_ms", registration.issuedAt)
    }
}

func describe(_ offer: Offer) -> JSONValue {
    fields {
        $0.put("public_key", offer.publicKey)
        $0.put("model", offer.model)
        $0.put("digest", offer.digest)
        $0.put("digest_source", offer.digestSource, names: "DIGEST_NONE DIGEST_FILE DIGEST_BACKEND")
        $0.put("quantization", offer.quantization)
        $0.put("context", offer.context)
        $0.put("features", offer.features.rawValue)
        $0.put("continues", offer.continues)
        $0.put(nonEmpty: "price", describe(offer.price))
        $0.put("slots", offer.slots)
        let speed = fields {
            $0.put("first_token_ms", offer.speed.firstTokenMilliseconds)
            $0.put("millitokens_per_s", offer.speed.millitokensPerSecond)
            $0.put("cold_first_token_ms", offer.speed.coldFirstTokenMilliseconds)
            $0.put("prompt_tokens_per_s", offer.speed.promptTokensPerSecond)
        }
        $0.put(nonEmpty: "speed", speed)
        $0.put("endpoints", offer.endpoints.map(describe))
        $0.put("reachability", offer.reachability, names: reachabilities)
        $0.put("name", offer.name)
        $0.put("sequence", wide: offer.sequence)
        $0.put("issued_at_ms", offer.issuedAt)
        $0.put("not_after_ms", offer.notAfter)
        $0.put("withdrawn", offer.withdrawn)
    }
}

func describe(_ bid: Bid) -> JSONValue {
    fields {
        $0.put("task", bid.task)
        $0.put("attempt", bid.attempt)
        $0.put("bidder", bid.bidder)
        $0.put("buyer", bid.buyer)
        $0.put(nonEmpty: "price", describe(bid.price))
        $0.put("queue_ms", bid.queueMilliseconds)
        $0.put("first_token_ms", bid.firstTokenMilliseconds)
        $0.put("millitokens_per_s", bid.millitokensPerSecond)
        $0.put("cached_tokens", bid.cachedTokens)
        $0.put("worker_dials", bid.workerDials)
        $0.put("digest", bid.digest)
        $0.put("quantization", bid.quantization)
        $0.put("continues", bid.continues)
        $0.put("context", bid.context)
        $0.put("prompt_tokens_per_s", bid.promptTokensPerSecond)
    }
}

func describe(_ receipt: Receipt) -> JSONValue {
    fields {
        $0.put("task", receipt.task)
        $0.put("attempt", receipt.attempt)
        $0.put("buyer", receipt.buyer)
        $0.put("worker", receipt.worker)
        $0.put("sequence", wide: receipt.sequence)
        $0.put("prompt_tokens", wide: receipt.promptTokens)
        $0.put("cached_tokens", wide: receipt.cachedTokens)
        $0.put("completion_tokens", wide: receipt.completionTokens)
        $0.put("cost_ucr", wide: receipt.cost.microCredits)
        $0.put("final", receipt.final)
        $0.put("issued_at_ms", receipt.issuedAt)
    }
}

func describe(_ envelope: Envelope) -> JSONValue {
    fields {
        $0.put("request", envelope.request)
        $0.put("reply", envelope.reply)
        let (name, content) = describe(envelope.message)
        $0.put(name, content)
    }
}

private func describe(_ message: Message) -> (String, JSONValue) {
    switch message {
    case .discovery(.ping(let contact, let known)):
        (
            "ping",
            fields {
                $0.put("contact", contact.map(describe)); $0.put("known", wide: known)
            }
        )
    case .discovery(.pong(let contact, let observed)):
        (
            "pong",
            fields {
                $0.put("contact", contact.map(describe))
                $0.put("observed", observed.map(describe))
            }
        )
    case .discovery(.find(let target)): ("find", fields { $0.put("target", target) })
    case .discovery(.found(let contacts)): ("found", fields { $0.put("contacts", contacts.map(describe)) })
    case .unsupported(let kind): ("unsupported", fields { $0.put("kind", kind) })
    case .gossip(.offerMail(let offers)): ("offer_mail", fields { $0.put("offers", offers.map(describe)) })
    case .gossip(.offerReceived): ("offer_received", .object([:]))
    case .gossip(.offerDigest(let digest)):
        (
            "offer_digest",
            fields {
                $0.put("first", wide: digest.first)
                $0.put("last", wide: digest.last)
                let versions = digest.offers.map { version in
                    fields {
                        $0.put("id", wide: version.id)
                        $0.put("sequence", wide: version.sequence)
                    }
                }
                $0.put("offers", versions)
            }
        )
    case .gossip(.offerDifference(let difference)):
        (
            "offer_difference",
            fields {
                $0.put("offers", difference.offers.map(describe))
                $0.put("wanted", difference.wanted.map { .string("\($0)") })
                $0.put("more", difference.more)
                $0.put("now_ms", difference.now)
            }
        )
    case .market(.callForBids(let call)): ("call_for_bids", describe(call))
    case .market(.bid(let record)): ("bid", describe(record))
    case .market(.decline(let decline)):
        (
            "decline",
            fields {
                $0.put("task", decline.task)
                $0.put("attempt", decline.attempt)
                $0.put("reason", decline.reason, names: declines)
                $0.put("retry_after_ms", decline.retryAfterMilliseconds)
            }
        )
    case .market(.release(let release)):
        (
            "release",
            fields {
                $0.put("task", release.task)
                $0.put("attempt", release.attempt)
                $0.put("winning_score", wide: release.winningScore)
            }
        )
    case .market(.award(let award)):
        (
            "award",
            fields {
                $0.put("task", award.task)
                $0.put("attempt", award.attempt)
                $0.put("worker_dials", award.workerDials)
            }
        )
    case .market(.awardReply(let reply)):
        (
            "award_reply",
            fields {
                $0.put("task", reply.task)
                $0.put("attempt", reply.attempt)
                $0.put(
                    "status", reply.status, names: "AWARD_UNSPECIFIED AWARD_ACCEPTED AWARD_BUSY AWARD_UNKNOWN"
                )
            }
        )
    case .discovery(.register(let register)):
        (
            "register",
            fields {
                $0.put("registration", describe(register.registration))
                $0.put("withdrawn", register.withdrawn)
                $0.put("start", register.start)
            }
        )
    case .discovery(.registered(let registered)):
        (
            "registered",
            fields {
                $0.put("held_ms", registered.heldMilliseconds)
                $0.put("contacts", registered.contacts.map(describe))
            }
        )
    case .discovery(.get(let topic, let start)):
        (
            "get",
            fields {
                $0.put("topic", topic.value)
                $0.put("start", start)
            }
        )
    case .discovery(.providers(let providers)):
        (
            "providers",
            fields {
                $0.put("registrations", providers.registrations.map(describe))
                $0.put("contacts", providers.contacts.map(describe))
            }
        )
    case .discovery(.callbackRequest(let request)):
        (
            "callback_request",
            fields {
                $0.put("nonce", wide: request.nonce)
                $0.put("port", UInt32(request.port))
                $0.put("channel", request.channel)
            }
        )
    case .discovery(.callbackOrder(let order)):
        (
            "callback_order",
            fields {
                $0.put("public_key", order.publicKey)
                $0.put("endpoint", describe(order.endpoint))
                $0.put("nonce", wide: order.nonce)
                $0.put("channel", order.channel)
            }
        )
    case .discovery(.callbackAnswer(let nonce, let called)):
        (
            "callback_answer",
            fields {
                $0.put("nonce", wide: nonce)
                $0.put("called", called.map(describe))
            }
        )
    case .discovery(.callback(let nonce)): ("callback", fields { $0.put("nonce", wide: nonce) })
    }
}

private func describe(_ call: CallForBids) -> JSONValue {
    fields {
        $0.put("task", call.task)
        $0.put("attempt", call.attempt)
        $0.put("model", call.model)
        $0.put("digest", call.digest)
        $0.put("quantizations", call.quantizations)
        $0.put("features", call.features.rawValue)
        $0.put("must_continue", call.mustContinue)
        $0.put("tokens_in", call.tokensIn)
        $0.put("tokens_out", call.tokensOut)
        $0.put("tokens_out_max", call.tokensOutMax)
        $0.put("max_price", call.maxPrice.map(describe))
        $0.put("close_ms", call.closeMilliseconds)
        $0.put("deadline_ms", call.deadlineMilliseconds)
        let weights = fields {
            $0.put("time_ucr_per_s", call.weights.timePerSecond)
            $0.put("trust_power", call.weights.trustPower)
        }
        $0.put(nonEmpty: "weights", weights)
        $0.put("cache_handle", call.cacheHandle)
        $0.put("buyer_unreachable", call.buyerUnreachable)
        $0.put("quote", call.isQuote)
    }
}

func describe(_ frame: Frame) -> JSONValue {
    fields {
        $0.put("task", frame.task)
        $0.put("attempt", frame.attempt)
        let (name, content) = describe(frame.body)
        $0.put(name, content)
    }
}

private func describe(_ body: FrameBody) -> (String, JSONValue) {
    switch body {
    case .open(let open):
        (
            "open",
            fields {
                $0.put("kind", open.kind, names: "TASK_UNSPECIFIED TASK_CHAT TASK_COMPLETION TASK_EMBEDDING")
                $0.put("body_bytes", open.bodyBytes)
                $0.put("max_tokens", open.maxTokens)
                $0.put("delivered_bytes", open.deliveredBytes)
                $0.put("window_bytes", open.windowBytes)
                $0.put("deadline_ms", open.deadlineMilliseconds)
            }
        )
    case .bodyPart(let part): ("body_part", fields { $0.put("bytes", part) })
    case .delta(let delta):
        (
            "delta",
            fields {
                $0.put("offset", wide: delta.offset)
                $0.put("text", delta.text)
                $0.put("tokens", delta.tokens)
                $0.put("extra", delta.extra)
            }
        )
    case .progress(let progress):
        (
            "progress",
            fields {
                $0.put(
                    "phase", progress.phase,
                    names: "PHASE_UNSPECIFIED PHASE_QUEUED PHASE_LOADING PHASE_PREFILL PHASE_GENERATING")
                $0.put("tokens", progress.tokens)
                $0.put("place", progress.place)
            }
        )
    case .finish(let finish):
        (
            "finish",
            fields {
                $0.put("reason", finish.reason)
                $0.put("prompt_tokens", finish.promptTokens)
                $0.put("cached_tokens", finish.cachedTokens)
                $0.put("completion_tokens", finish.completionTokens)
                $0.put("cache_handle", finish.cacheHandle)
                $0.put("dropped_fields", finish.droppedFields)
                $0.put("extra", finish.extra)
            }
        )
    case .fail(let fail):
        (
            "fail",
            fields {
                $0.put("code", fail.code)
                $0.put("message", fail.message)
                $0.put("another_may_succeed", fail.anotherMaySucceed)
            }
        )
    case .cancel: ("cancel", .object([:]))
    case .window(let consumed): ("window", fields { $0.put("consumed", wide: consumed) })
    case .receipt(let record): ("receipt", describe(record))
    case .hello: ("hello", .object([:]))
    }
}
