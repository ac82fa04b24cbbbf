"""Makes the demo model's conversations from phrase grammars: facts about Resident (knowledge.py), tool
calls with random names, small JSON objects, names to remember. Same seed, same conversations."""

import json
import random
import re
import zlib

from knowledge import CHINESE_CLOSERS, CHINESE_OPENERS, ENGLISH_CLOSERS, ENGLISH_OPENERS, FACTS, SYSTEM_PROMPTS

MODELS = "demo resident-demo qwen3 llama3 gemma mistral phi4 qwen3-8b llama3.2 smollm deepseek-r1 my-model gemma3-4b coder qwen3-0.6b granite".split()
CITIES = "Paris London Berlin Madrid Rome Tokyo Oslo Vienna Lisbon Dublin Cairo Lima Boston Chicago Denver Seoul Delhi Sydney Toronto Zurich Prague Athens Geneva Milan Munich Hamburg Seattle Austin Dallas Bern".split() + ["New York", "San Francisco", "Hong Kong", "Cape Town"]
CITIES_ZH = "北京 上海 广州 深圳 杭州 南京 成都 武汉 西安 重庆 天津 苏州 东京 巴黎 伦敦 柏林 香港 台北 青岛 厦门 纽约 罗马 大连 昆明".split()
NAMES = "Anna Bob Carla David Emma Frank Greta Hugo Ida Jack Karl Lena Maria Nora Oscar Paul Rosa Sam Tom Vera Alice Peter Julia Max Ben Clara Leo Mia Noah Eva Ada Alan".split()
NAMES_ZH = "小明 小红 李雷 韩梅梅 王芳 张伟 刘洋 陈静 安娜 小李 小王 李娜 赵敏 周杰 吴磊 孙丽".split()
THINGS = "car house bridge radio engine piano train clock lamp bread cake war football game river mountain telephone tower star computer cat dog bird tree world cup ship guitar".split()
THINGS_ZH = "汽车 房子 桥 收音机 钢琴 火车 电话 灯 面包 蛋糕 足球 河流 高山 电脑 猫 狗 星星 飞机 吉他 大树 世界杯".split()
VERBS = "get fetch find lookup read query load check show request retrieve obtain".split()
TOPICS = {"weather": "天气", "forecast": "预报", "time": "时间", "temperature": "温度", "price": "价格", "population": "人口", "traffic": "路况", "news": "新闻", "status": "状态", "address": "地址",
          "schedule": "日程", "balance": "余额", "rating": "评分", "humidity": "湿度", "distance": "距离", "size": "大小", "owner": "主人", "color": "颜色", "score": "得分", "history": "历史",
          "stock": "库存", "menu": "菜单", "profile": "资料", "budget": "预算", "version": "版本", "summary": "摘要", "email": "邮箱", "phone": "电话", "rate": "汇率", "level": "水位"}
TEST_TOPICS = {"rainfall": "雨量", "salary": "工资", "altitude": "海拔", "deadline": "期限", "invoice": "发票", "noise": "噪音"}
ARGUMENTS = "city place location name id item target key user town query subject value object code region title zone".split()
KEYS = {"name": "姓名", "age": "年龄", "city": "城市", "job": "工作", "color": "颜色", "price": "价格", "year": "年份", "title": "标题", "count": "数量", "country": "国家", "size": "大小", "email": "邮箱", "score": "分数", "animal": "动物", "id": "编号"}
NUMBER_KEYS = {"age", "price", "year", "count", "size", "score", "id"}
JOBS = "teacher doctor baker pilot painter nurse driver writer singer farmer cook lawyer".split()
JOBS_ZH = "老师 医生 司机 画家 护士 作家 歌手 农民 厨师 律师".split()
SYLLABLES = "ba be bi bo ca co da de di do fa fe ga go ha he ka ki ko la le li lo ma me mi mo na ne ni no pa pe ra re ri ro sa se si so ta te ti to va ve vi vo wa zu nor tan mel rin lux sol dor ver kin zan pol".split()
ZH_CHARACTERS = "安北川东方风海和河红华黄江金兰林龙梅明宁平青山石水松天文新星阳云长中竹白春光国家家景开乐丽美门木南宁清秋日三双泰田西夏香小雪玉月"


def expand(pattern: str, rng: random.Random) -> str:
    """Picks one branch of every (a|b|) group, innermost first."""
    group = re.compile(r"\(([^()]*)\)")
    while match := group.search(pattern):
        pattern = pattern[: match.start()] + rng.choice(match.group(1).split("|")) + pattern[match.end():]
    return pattern


def held_out(question: str) -> bool:
    """One phrasing in twelve never reaches training; the test asks exactly those."""
    return zlib.crc32(question.encode()) % 12 == 0


def word(rng: random.Random) -> str:
    """A pronounceable word that exists nowhere, so that copying is the only way to write it."""
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 3)))


def place(rng: random.Random, chinese: bool) -> str:
    if chinese and rng.random() < 0.85:
        return rng.choice(CITIES_ZH) if rng.random() < 0.6 else "".join(rng.choice(ZH_CHARACTERS) for _ in range(rng.randint(2, 3)))
    return rng.choice(CITIES) if rng.random() < 0.6 else word(rng).capitalize()


def person(rng: random.Random, chinese: bool) -> str:
    if chinese and rng.random() < 0.85:
        return rng.choice(NAMES_ZH) if rng.random() < 0.6 else "".join(rng.choice(ZH_CHARACTERS) for _ in range(rng.randint(2, 3)))
    return rng.choice(NAMES) if rng.random() < 0.6 else word(rng).capitalize()


def model_name(rng: random.Random) -> str:
    return rng.choice(MODELS) if rng.random() < 0.6 else word(rng) + rng.choice(["", "", f"-{rng.randint(1, 70)}b", f"{rng.randint(2, 9)}"])


def fill(text: str, slots: dict) -> str:
    for key, value in slots.items():
        text = text.replace("{" + key + "}", value)
    return text


def roughen(text: str, rng: random.Random, chinese: bool) -> str:
    """People leave out marks and capitals."""
    draw = rng.random()
    if draw < 0.2:
        text = text.rstrip("?？。.!！")
    if not chinese and rng.random() < 0.75:
        return text[:1].upper() + text[1:]
    if not chinese and draw < 0.1:
        return text.lower()
    return text


class Maker:
    """Draws turns; `test` swaps in the held-out phrasings and names."""

    def __init__(self, rng: random.Random, test: bool = False):
        self.rng, self.test = rng, test

    def fact(self, chinese: bool, entry=None) -> list:
        rng = self.rng
        name, *texts = entry or rng.choice(FACTS + FACTS[-4:-3] * 4)
        questions, answers = texts[2:] if chinese else texts[:2]
        while True:
            pattern = expand(rng.choice(questions), rng)
            if held_out(pattern) == self.test:
                break
            if rng.random() < 0.02:
                name, *texts = rng.choice(FACTS)
                questions, answers = texts[2:] if chinese else texts[:2]
        shown = model_name(rng)
        slots = {"model": shown if "{model}" in pattern else "demo", "city": place(rng, chinese), "name": person(rng, chinese),
                 "thing": rng.choice(THINGS_ZH if chinese else THINGS), "number": str(rng.randint(2, 999))}
        text = fill(pattern, slots)
        if name in ("greet", "thanks", "bye", "mood"):
            question = text
        elif chinese:
            question = rng.choice(CHINESE_OPENERS) + text + rng.choice(CHINESE_CLOSERS)
        else:
            question = rng.choice(ENGLISH_OPENERS) + text + rng.choice(ENGLISH_CLOSERS)
        return [user(roughen(question, rng, chinese)), assistant(fill(rng.choice(answers), slots))]

    def introduction(self, chinese: bool) -> list:
        """Tells a name; a later turn may ask for it."""
        rng, name = self.rng, person(self.rng, chinese)
        if chinese:
            turns = [user(rng.choice(["我叫", "我的名字是", "你好，我叫", "我是"]) + name + rng.choice(["", "。"])), assistant(f"你好，{name}！很高兴认识你。")]
            later = [user(rng.choice(["我叫什么？", "我叫什么名字？", "你记得我的名字吗？", "我的名字是什么？"])), assistant(f"你叫{name}。")]
        else:
            turns = [user(rng.choice(["My name is ", "I am ", "Hi, I am ", "Hello, my name is ", "Call me "]) + name + rng.choice([".", "", "!"])), assistant(f"Nice to meet you, {name}!")]
            later = [user(rng.choice(["What is my name?", "Do you remember my name?", "Who am I?", "Say my name."])), assistant(f"Your name is {name}.")]
        between = self.fact(chinese) if rng.random() < 0.3 else []
        return turns + (between + later if rng.random() < 0.75 else [])

    def repetition(self, chinese: bool) -> list:
        """Asks for given words back. Nothing else teaches copying as fast, and calls and objects are copies."""
        rng = self.rng
        parts = [self.unfamiliar(chinese) for _ in range(rng.randint(1, 6))]
        said = rng.choice([" ", ", ", "_", "，" if chinese else " "]).join(parts)
        if chinese:
            question = rng.choice(["重复：", "请重复：", "请说：", "跟我说：", "照抄："]) + said
        else:
            question = rng.choice(["Repeat: ", "Say: ", "Repeat after me: ", "Please repeat: ", "Copy this: ", "Echo "]) + said
        return [user(question), assistant(said)]

    def unfamiliar(self, chinese: bool) -> str:
        """A word, number, name or sign string that cannot be guessed."""
        rng, draw = self.rng, self.rng.random()
        if chinese and draw < 0.5:
            return "".join(rng.choice(ZH_CHARACTERS) for _ in range(rng.randint(1, 4)))
        if draw < 0.6:
            made = word(rng)
            return made.capitalize() if rng.random() < 0.4 else made
        if draw < 0.7:
            return str(rng.randint(0, 99999))
        if draw < 0.8:
            return rng.choice(VERBS) + "_" + rng.choice(list(TOPICS))
        if draw < 0.9:
            return rng.choice(ARGUMENTS + list(KEYS) + JOBS + THINGS)
        return rng.choice(CITIES + NAMES + (CITIES_ZH + NAMES_ZH if chinese else MODELS))

    def json_object(self, chinese: bool) -> list:
        """Asks for a small object in one of several word orders."""
        rng = self.rng
        keys = rng.sample(list(KEYS), rng.randint(1, 4))
        if rng.random() < 0.3:
            keys = ["name", "age"] + [key for key in keys[:1] if key not in ("name", "age")]
        values = {key: self.json_value(key, chinese) for key in keys}
        if rng.random() < 0.15:
            renamed = {key: word(rng) for key in keys}
            values = {renamed[key]: value for key, value in values.items()}
        elif chinese and rng.random() < 0.4:
            values = {KEYS[key]: value for key, value in values.items()}
        return [user(self.json_question(values, chinese)), assistant(json.dumps(values, ensure_ascii=False))]

    def json_value(self, key: str, chinese: bool):
        rng = self.rng
        if key in NUMBER_KEYS:
            return rng.randint(1900, 2030) if key == "year" else rng.randint(1, 99) if rng.random() < 0.8 else rng.randint(100, 9999)
        if key in ("city", "country"):
            return place(rng, chinese)
        if key == "job":
            return rng.choice(JOBS_ZH if chinese else JOBS)
        if key == "email":
            return f"{word(rng)}@example.com"
        if key in ("color", "animal", "title"):
            return word(rng) if rng.random() < 0.4 else rng.choice(THINGS_ZH if chinese else THINGS)
        return person(rng, chinese)

    def json_question(self, values: dict, chinese: bool) -> str:
        rng, shown = self.rng, [str(value) for value in values.values()]
        if chinese:
            keys = "、".join(values) if rng.random() < 0.5 else "和".join(values)
            listed, paired = "，".join(shown), "，".join(f"{key}是{value}" if rng.random() < 0.5 else f"{key} 是 {value}" for key, value in values.items())
            patterns = [f"给我一个 JSON 对象，包含{keys}：{listed}", f"用 JSON 写出{keys}：{listed}", f"写一个 JSON：{paired}", f"请把下面的内容写成 JSON：{paired}", f"{paired}。请用 JSON 表示", f"输出 JSON，字段是{keys}，内容是{listed}"]
        else:
            keys = " and ".join(values) if len(values) < 3 else ", ".join(list(values)[:-1]) + " and " + list(values)[-1]
            listed, paired = ", ".join(shown), rng.choice([", ", " and "]).join(f"{key} is {value}" for key, value in values.items())
            article = rng.choice(["a JSON object", "JSON", "a small JSON object", "a JSON"])
            patterns = [f"Give me {article} with {keys} for {listed}", f"Write {article} with {keys}: {listed}", f"Write {listed} as JSON with {keys}", f"Make {article}: {paired}", f"The {paired}. Answer in JSON", f"Return {article} with the keys {keys} and the values {listed}",
                        f"Create {article} where {paired}", f"Output {article} for {listed}, keys {keys}"]
        index = rng.randrange(len(patterns))
        if self.test:
            index = rng.choice([0, 3])
        return patterns[index] + (rng.choice(["。", ""]) if chinese else rng.choice([".", "", "", " please"]))

    def tool_talk(self, chinese: bool) -> tuple:
        """One question that fits one of one to three tools: the call, its result, the answer."""
        rng = self.rng
        make = rng.choice([self.topic_tool] * 5 + [self.sum_tool, self.path_tool, self.plain_tool, self.search_tool])
        tool, question, arguments = make(chinese)
        tools = [tool]
        for _ in range(rng.choice([0, 0, 1, 1, 2])):
            other = rng.choice([self.topic_tool, self.topic_tool, self.sum_tool, self.path_tool, self.plain_tool, self.search_tool])
            candidate = other(chinese)[0]
            if other != make or make == self.topic_tool and candidate["topic"] != tool["topic"]:
                tools.append(candidate)
        if len({entry["function"]["name"] for entry in tools}) != len(tools) or len({entry["topic"] for entry in tools}) != len(tools):
            tools = [tool]
        rng.shuffle(tools)
        opener = rng.choice(CHINESE_OPENERS if chinese else ENGLISH_OPENERS)
        turns = [user(roughen(opener + question, rng, chinese)), call(tool["function"]["name"], arguments)]
        if rng.random() < 0.55:
            turns += self.tool_answer(chinese)
        return [{"type": "function", "function": entry["function"]} for entry in tools], turns

    def topic_tool(self, chinese: bool):
        rng = self.rng
        topics = TEST_TOPICS if self.test else TOPICS
        topic = rng.choice(list(topics))
        topic_zh = topics[topic]
        if rng.random() < 0.3 and not chinese:
            topic = word(rng)
        verb = rng.choice(VERBS) if rng.random() < 0.85 else word(rng)
        name = rng.choice([f"{verb}_{topic}", f"{verb}_{topic}", f"{verb}{topic.capitalize()}", f"{topic}_{verb}", topic])
        argument = rng.choice(ARGUMENTS) if rng.random() < 0.85 else word(rng)
        target = place(rng, chinese) if rng.random() < 0.75 else person(rng, chinese)
        subject = f"{topic_zh}" if chinese else topic
        if chinese:
            question = expand(rng.choice([f"{target}的{subject}(是多少|怎么样|如何|是什么)？", f"(查一下|帮我查|查询|告诉我|看看){target}的{subject}", f"我想知道{target}的{subject}", f"{target}(现在|今天|)的{subject}(怎么样|)？"]), rng)
        else:
            question = expand(rng.choice([f"what is the {subject} (in|of|for) {target}( today| now|)?", f"(get|show|find|tell|give) me the {subject} (in|of|for) {target}", f"I (need|want) the {subject} (in|of|for) {target}", f"{subject} (in|of|for) {target}?",
                                          f"how is the {subject} in {target}( today|)?", f"check the {subject} (in|of|for) {target}"]), rng)
        description = rng.choice([f"Get the {topic} of a {argument}", f"The {topic} for one {argument}", f"{verb.capitalize()} {topic}", f"Get current {topic}", f"查询{topic_zh}" if topic in topics else "", ""])
        return schema(topic, name, description, {argument: "string"}), question, {argument: target}

    def sum_tool(self, chinese: bool):
        rng = self.rng
        operation, word_en, word_zh = rng.choice([("add", "plus", "加"), ("multiply", "times", "乘以"), ("subtract", "minus", "减")])
        name = rng.choice([operation, operation, f"{operation}_numbers", f"math_{operation}"])
        first, second = rng.choice([("a", "b"), ("x", "y"), ("first", "second"), ("left", "right")])
        one, two = rng.randint(1, 999), rng.randint(1, 999)
        question = expand(f"(计算|请算|)(|一下){one}{word_zh}{two}(是多少？|等于几？|等于多少？|)" if chinese else f"(what is|compute|calculate|how much is) {one} {word_en} {two}?", rng)
        kind = rng.choice(["integer", "number"])
        return schema(operation, name, rng.choice([f"{operation.capitalize()} two numbers", ""]), {first: kind, second: kind}), question, {first: one, second: two}

    def path_tool(self, chinese: bool):
        rng = self.rng
        name, argument = rng.choice(["open_file", "read_file", "openFile", "show_file", "delete_file", "file_" + word(rng)]), rng.choice(["path", "file", "name", "filename"])
        path = rng.choice(["", "", "/home/" + word(rng) + "/", "docs/", "src/"]) + rng.choice(["notes", "readme", "main", "todo", "report", word(rng), word(rng)]) + rng.choice([".txt", ".md", ".rs", ".py", ".csv"])
        question = expand(f"(打开|请打开|读取|显示|看看)(文件|) {path}" if chinese else f"(open|read|show|please open|show me) (the file |){path}", rng)
        return schema("file", name, rng.choice(["Open a file", "Read one file", ""]), {argument: "string"}), question, {argument: path}

    def plain_tool(self, chinese: bool):
        rng = self.rng
        noun, noun_zh = rng.choice([("models", "模型"), ("files", "文件"), ("users", "用户"), ("tasks", "任务"), ("notes", "笔记"), ("orders", "订单")])
        name = rng.choice([f"list_{noun}", f"get_all_{noun}", f"show_{noun}", f"list{noun.capitalize()}"])
        question = expand(f"(列出|显示|给我看)(所有|全部|我的|){noun_zh}" if chinese else f"(list|show|show me|please list|give me) (all|the|my) {noun}", rng)
        return schema("list " + noun, name, rng.choice([f"List all {noun}", ""]), {}), question, {}

    def search_tool(self, chinese: bool):
        rng = self.rng
        name, argument = rng.choice(["search", "web_search", "search_web", "find_pages", "searchDocs", "search_" + word(rng)]), rng.choice(["query", "text", "q", "keywords"])
        query = " ".join(rng.choice(THINGS + [word(rng)]) for _ in range(rng.randint(1, 3))) if not chinese or rng.random() < 0.2 else rng.choice(THINGS_ZH) + rng.choice(["", rng.choice(THINGS_ZH)])
        question = expand(f"(搜索|搜一下|帮我搜索|查找)(：|){query}" if chinese else f"(search for|search the web for|look up|please search for) {query}", rng)
        return schema("search", name, rng.choice(["Search the web", "Search documents", ""]), {argument: "string"}), question, {argument: query}

    def tool_answer(self, chinese: bool) -> list:
        """A result as text or JSON, and the answer that repeats it."""
        rng = self.rng
        if rng.random() < 0.5:
            parts = {rng.choice(list(TOPICS) + [word(rng)]): rng.choice([rng.randint(1, 999), word(rng), rng.choice(["sunny", "rain", "open", "ok", "yes", "high", "low"])]) for _ in range(rng.randint(1, 3))}
            content = json.dumps(parts, separators=rng.choice([None, (",", ":")]))
            listed = ("，" if chinese else ", ").join(f"{key} {value}" for key, value in parts.items())
        else:
            english = [f"{rng.randint(1, 40)} degrees and {rng.choice(['sunny', 'rain', 'cloudy', 'windy', word(rng)])}", str(rng.randint(1, 99999)), word(rng), " ".join(word(rng) for _ in range(rng.randint(2, 4))), ", ".join(rng.sample(MODELS, 2)), f"{rng.randint(0, 23)}:{rng.randint(10, 59)}"]
            content = listed = rng.choice(english + ([f"{rng.randint(1, 40)} 度，{rng.choice(['晴', '下雨', '多云', '有风'])}", rng.choice(THINGS_ZH), rng.choice(CITIES_ZH)] * 2 if chinese else []))
        return [{"role": "tool", "content": content}, assistant(f"结果是：{listed}。" if chinese else f"Here is the result: {listed}.")]

    def conversation(self, repetitions: float) -> dict:
        """System prompt or none, tools or none, one to four turns; `repetitions` is their share."""
        rng, draw = self.rng, self.rng.random()
        chinese, tools = rng.random() < 0.45, []
        if rng.random() < repetitions:
            turns = [turn for _ in range(rng.randint(1, 3)) for turn in self.repetition(chinese)]
        elif draw < 0.42:
            tools, turns = self.tool_talk(chinese)
            if rng.random() < 0.1:
                turns = self.fact(chinese)
            elif rng.random() < 0.2:
                turns = self.fact(chinese) + turns if rng.random() < 0.5 else turns + self.fact(chinese)
        elif draw < 0.56:
            turns = self.json_object(chinese)
        elif draw < 0.62:
            turns = self.introduction(chinese)
        else:
            turns = []
            for _ in range(rng.choice([1, 1, 1, 2, 3])):
                turns += self.fact(chinese)
                if rng.random() < 0.2:
                    chinese = not chinese
        if rng.random() < 0.35:
            turns = [{"role": "system", "content": rng.choice(SYSTEM_PROMPTS)}] + turns
        return {"messages": turns, "tools": tools}


def user(content: str) -> dict:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict:
    return {"role": "assistant", "content": content}


def call(name: str, arguments: dict) -> dict:
    text = json.dumps(arguments, ensure_ascii=False)
    return {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {"name": name, "arguments": text}}]}


def schema(topic: str, name: str, description: str, parameters: dict) -> dict:
    properties = {key: {"type": kind} for key, kind in parameters.items()}
    function = {"name": name, "description": description, "parameters": {"type": "object", "properties": properties, "required": list(parameters)}}
    return {"topic": topic, "function": function}


def conversations(seed: int, count: int, repetitions: float) -> list:
    maker = Maker(random.Random(seed))
    return [maker.conversation(repetitions) for _ in range(count)]
