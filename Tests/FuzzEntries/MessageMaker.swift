import Cryptography
import Primitives
import Wire

/// Well-formed messages with arbitrary content: they pass the decoder, with numbers at their extremes and
/// genuinely signed records.
package struct MessageMaker {
    /// The author of the records.
    package let author: Identity
    package let endpoint: Endpoint
    /// The victim, its model and one of its running tasks, if there is one, so that guesses succeed.
    package var victim: PublicKey
    package var model: String
    package var tasks: [TaskID]
    package var wall: WallTime

    package init(
        author: Identity, endpoint: Endpoint, victim: PublicKey, model: String, tasks: [TaskID] = [],
        wall: WallTime
    ) {
        self.author = author
        self.endpoint = endpoint
        self.victim = victim
        self.model = model
        self.tasks = tasks
        self.wall = wall
    }

    package func message(_ input: inout FuzzInput) -> Message {
        switch input.choice(24) {
        case 0: .discovery(.ping(contact: input.flag() ? contact(&input) : nil))
        case 1:
            .discovery(
                .pong(
                    contact: input.flag() ? contact(&input) : nil,
                    observed: input.flag() ? place(&input) : nil))
        case 2: .discovery(.find(target: bytes32(&input)))
        case 3: .discovery(.found(contacts: list(&input, 9, contact)))
        case 4: .unsupported(kind: input.number32())
        case 5: .gossip(.offerMail(list(&input, 3, offer)))
        case 6: .gossip(.offerReceived)
        case 7: .gossip(.offerDigest(digest(&input)))
        case 8: .gossip(.offerDifference(difference(&input)))
        case 9, 10: .market(.callForBids(call(&input)))
        case 11: .market(.bid(bid(&input)))
        case 12:
            .market(
                .decline(
                    Decline(
                        task: task(&input), attempt: attempt(&input),
                        reason: DeclineReason(rawValue: UInt32(input.byte())) ?? .unspecified,
                        retryAfterMilliseconds: input.number32())))
        case 13:
            .market(
                .release(Release(task: task(&input), attempt: attempt(&input), winningScore: input.number())))
        case 14:
            .discovery(
                .register(
                    Register(
                        registration: registration(&input), withdrawn: input.choice(4) == 1,
                        start: input.number32())))
        case 15:
            .discovery(
                .registered(
                    Registered(heldMilliseconds: input.number32(), contacts: list(&input, 9, contact))))
        case 16: .discovery(.get(topic: topic(&input), start: input.number32()))
        case 17:
            .discovery(
                .providers(
                    Providers(
                        registrations: list(&input, 9, registration), contacts: list(&input, 9, contact))))
        case 18:
            .market(.award(Award(task: task(&input), attempt: attempt(&input), workerDials: input.flag())))
        case 20:
            .discovery(
                .callbackRequest(
                    CallbackRequest(
                        nonce: max(1, input.number()),
                        port: max(1, UInt16(truncatingIfNeeded: input.number())),
                        channel: input.flag())))
        case 21:
            .discovery(
                .callbackOrder(
                    CallbackOrder(
                        publicKey: input.flag() ? author.publicKey : victim, endpoint: place(&input),
                        nonce: max(1, input.number()), channel: input.flag())))
        case 22:
            .discovery(
                .callbackAnswer(nonce: max(1, input.number()), called: input.flag() ? place(&input) : nil))
        case 23: .discovery(.callback(nonce: max(1, input.number())))
        default:
            .market(
                .awardReply(
                    AwardReply(
                        task: task(&input), attempt: attempt(&input),
                        status: AwardStatus(rawValue: UInt32(input.choice(4))) ?? .unknown)))
        }
    }

    package func frame(_ input: inout FuzzInput) -> Frame {
        Frame(task: task(&input), attempt: attempt(&input), body: body(&input))
    }

    private func body(_ input: inout FuzzInput) -> FrameBody {
        switch input.choice(11) {
        case 0, 1:
            .open(
                TaskOpen(
                    kind: TaskKind(rawValue: UInt32(input.choice(4))) ?? .chat, bodyBytes: input.number32(),
                    maxTokens: input.number32(), deliveredBytes: input.number32(),
                    windowBytes: input.number32(),
                    deadlineMilliseconds: input.number32()))
        case 2: .bodyPart(input.bytes())
        case 3:
            .delta(
                Delta(
                    offset: input.number(), text: input.bytes(), tokens: input.number32(),
                    extra: input.flag() ? input.bytes() : []))
        case 4:
            .progress(
                Progress(phase: Phase(rawValue: UInt32(input.choice(5))) ?? .queued, tokens: input.number32())
            )
        case 5:
            .finish(
                Finish(
                    reason: "stop", promptTokens: input.number32(), cachedTokens: input.number32(),
                    completionTokens: input.number32(), cacheHandle: input.flag() ? input.take(32) : []))
        case 6: .fail(Fail(code: "busy", message: "no", anotherMaySucceed: input.flag()))
        case 7: .cancel
        case 8: .window(consumed: input.number())
        case 9: .receipt(receipt(&input))
        default: .hello
        }
    }

    // MARK: Records

    package func contact(_ input: inout FuzzInput) -> SignedRecord {
        let contact = Contact(
            publicKey: author.publicKey, endpoints: list(&input, 5, place),
            reachability: Reachability(rawValue: UInt32(input.choice(3))) ?? .unknown,
            sequence: input.number(),
            issuedAt: date(&input), versions: [input.number32()])
        return spoilt(Verified(signing: contact, with: author).signed, &input)
    }

    package func offer(_ input: inout FuzzInput) -> SignedRecord {
        let offer = Offer(
            publicKey: author.publicKey, model: input.flag() ? model : "m\(input.choice(16))",
            digest: input.flag() ? bytes32(&input) : nil, context: input.number32(),
            features: Features(rawValue: input.number32()), continues: input.flag(), price: price(&input),
            slots: input.number32(),
            speed: Speed(
                firstTokenMilliseconds: input.number32(), millitokensPerSecond: input.number32(),
                coldFirstTokenMilliseconds: input.number32()),
            endpoints: list(&input, 3, place),
            reachability: Reachability(rawValue: UInt32(input.choice(3))) ?? .unknown,
            sequence: input.flag() ? UInt64(clamping: wall.milliseconds) : input.number(),
            issuedAt: date(&input),
            notAfter: input.flag() ? wall + .seconds(180) : date(&input), withdrawn: input.choice(4) == 1)
        return spoilt(Verified(signing: offer, with: author).signed, &input)
    }

    package func registration(_ input: inout FuzzInput) -> SignedRecord {
        let registration = Registration(
            publicKey: author.publicKey, topic: topic(&input), endpoints: list(&input, 3, place),
            issuedAt: date(&input))
        return spoilt(Verified(signing: registration, with: author).signed, &input)
    }

    private func bid(_ input: inout FuzzInput) -> SignedRecord {
        let bid = Bid(
            task: task(&input), attempt: attempt(&input), bidder: author.publicKey,
            buyer: input.choice(8) == 1 ? author.publicKey : victim, price: price(&input),
            queueMilliseconds: input.number32(), firstTokenMilliseconds: input.number32(),
            millitokensPerSecond: input.number32(), cachedTokens: input.number32(), workerDials: input.flag(),
            continues: input.flag(), context: input.number32())
        return spoilt(Verified(signing: bid, with: author).signed, &input)
    }

    private func receipt(_ input: inout FuzzInput) -> SignedRecord {
        let receipt = Receipt(
            task: task(&input), attempt: attempt(&input), buyer: author.publicKey,
            worker: input.choice(8) == 1 ? author.publicKey : victim, sequence: input.number(),
            promptTokens: input.number(), cachedTokens: input.number(), completionTokens: input.number(),
            cost: Money(microCredits: Int64(bitPattern: input.number())), final: input.flag(),
            issuedAt: date(&input))
        return spoilt(Verified(signing: receipt, with: author).signed, &input)
    }

    /// One in eight has a bad signature.
    private func spoilt(_ record: SignedRecord, _ input: inout FuzzInput) -> SignedRecord {
        guard input.choice(8) == 1 else { return record }
        var record = record
        record.signature.s.w3 ^= 1 << UInt64(input.byte() & 63)
        return record
    }

    // MARK: Parts

    private func digest(_ input: inout FuzzInput) -> OfferDigest {
        OfferDigest(
            first: input.number(), last: input.number(),
            offers: list(&input, 57) { OfferVersion(id: $0.number(), sequence: $0.number()) })
    }

    private func difference(_ input: inout FuzzInput) -> OfferDifference {
        OfferDifference(
            offers: list(&input, 3, offer), wanted: list(&input, 33) { $0.number() }, more: input.number32(),
            now: date(&input))
    }

    private func call(_ input: inout FuzzInput) -> CallForBids {
        var call = CallForBids(
            task: task(&input), attempt: attempt(&input), model: model, features: .chat)
        if input.choice(8) == 1 { call.model = "other" }
        if input.choice(8) == 1 { call.digest = bytes32(&input) }
        if input.choice(8) == 1 { call.features = Features(rawValue: input.number32()) }
        call.mustContinue = input.choice(8) == 1
        call.tokensIn = input.number32()
        call.tokensOut = input.number32()
        call.tokensOutMax = input.number32()
        if input.flag() { call.maxPrice = price(&input) }
        call.closeMilliseconds = input.number32()
        call.deadlineMilliseconds = input.number32()
        call.weights = Weights(timePerSecond: input.number32(), trustPower: input.number32())
        let mark = input.choice(8)
        call.buyerUnreachable = mark == 1
        call.isQuote = mark == 2
        return call
    }

    /// A task of the victim, or one of a few of our own.
    private func task(_ input: inout FuzzInput) -> TaskID {
        let index = input.choice(8)
        if index < tasks.count { return tasks[index] }
        return TaskID(high: author.publicKey.value.w0, low: UInt64(index))
    }

    private func attempt(_ input: inout FuzzInput) -> UInt32 {
        input.choice(4) == 3 ? input.number32() : 1
    }

    private func price(_ input: inout FuzzInput) -> Price {
        Price(
            input: Int64(bitPattern: input.number()), cachedInput: Int64(bitPattern: input.number()),
            output: Int64(bitPattern: input.number()))
    }

    private func date(_ input: inout FuzzInput) -> WallTime {
        input.flag() ? wall : WallTime(milliseconds: Int64(bitPattern: input.number()))
    }

    private func place(_ input: inout FuzzInput) -> Endpoint {
        switch input.choice(8) {
        case 0, 1, 2, 3: endpoint
        case 4: Endpoint(ipv4: 0xcb00_7100 | UInt32(input.choice(4)), port: 7827)
        case 5: Endpoint(ipv4: input.number32(), port: UInt16(truncatingIfNeeded: input.number()))
        case 6: Endpoint(high: input.number(), low: input.number(), port: UInt16(input.byte()))
        default: .loopback(UInt16(truncatingIfNeeded: input.number()))
        }
    }

    private func topic(_ input: inout FuzzInput) -> TopicID {
        input.choice(4) == 3 ? TopicID(bytes32(&input)) : TopicID(model: model)
    }

    private func bytes32(_ input: inout FuzzInput) -> Bytes32 {
        input.flag() ? victim.value : Bytes32(input.number(), input.number(), input.number(), input.number())
    }

    private func list<T>(_ input: inout FuzzInput, _ bound: Int, _ make: (inout FuzzInput) -> T) -> [T] {
        (0..<input.choice(bound)).map { _ in make(&input) }
    }
}
