//! Questions, and passages that answer them in other words, in each script that is probed.
//!
//! A question shares as little with its answer as it can, and some words with answers to others, so that who compares
//! characters is wrong.

use super::Script;

/// Questions with their answers. Each passage is a wrong answer to every other question.
pub(crate) fn probes(script: Script) -> &'static [(&'static str, &'static str)] {
    match script {
        Script::Latin => &LATIN,
        Script::Han => &HAN,
        Script::Kana => &KANA,
        Script::Hangul => &HANGUL,
        Script::Cyrillic => &CYRILLIC,
        Script::Other => &[],
    }
}

const LATIN: [(&str, &str); 6] = [
    (
        "How can I sleep better?",
        "People who lie awake at night should drink less coffee and switch off their screens before bed.",
    ),
    (
        "Where do I get cheap flights?",
        "Booking a seat on the airline's website two months ahead usually costs the least.",
    ),
    (
        "What if my puppy won't eat?",
        "When a pet loses its appetite, take its temperature first, then see a vet.",
    ),
    (
        "Why is the sky blue?",
        "Molecules of air scatter short waves of light more strongly, which gives the heavens their colour.",
    ),
    (
        "How do I repair a dripping tap?",
        "Close the main valve, take off the handle and put in a new rubber washer.",
    ),
    (
        "How much money did the company make last year?",
        "The annual report shows net earnings of three hundred million for the firm.",
    ),
];

const HAN: [(&str, &str); 6] = [
    ("怎样才能睡得更好？", "夜里难以入眠的人，白天应少饮咖啡，临睡前关掉屏幕。"),
    ("哪里可以买到便宜的机票？", "提前两个月在航空公司网站订座，价格往往最低。"),
    ("小狗不吃东西怎么办？", "宠物食欲下降时，应先量体温，再送兽医诊治。"),
    ("天为什么是蓝的？", "大气分子散射短波光更强，白昼的苍穹因此呈现那种颜色。"),
    ("如何修理漏水的龙头？", "先关总阀，拆下手柄，换上新的橡胶垫圈，滴答声便会消失。"),
    ("企业去年赚了多少钱？", "本年度财务报告显示，公司净利润为三亿元。"),
];

const KANA: [(&str, &str); 6] = [
    (
        "どうすればよく眠れますか？",
        "夜なかなか寝つけない人は、昼間のコーヒーを控え、ベッドに入る前に画面を消しましょう。",
    ),
    (
        "安い航空券はどこで買えますか？",
        "二か月前に会社のサイトで座席を予約すると、たいてい最も低い料金になります。",
    ),
    (
        "子犬がごはんを食べないときは？",
        "ペットの食欲が落ちたら、まず体温を測り、それから獣医に診てもらいます。",
    ),
    (
        "空はなぜ青いの？",
        "大気の分子は波長の短い光をより強く散乱するため、昼の天はあのような色に見えます。",
    ),
    (
        "水漏れする蛇口の直し方は？",
        "元栓を閉め、ハンドルを外して、新しいゴムパッキンに取り替えます。",
    ),
    ("会社は去年いくら儲けましたか？", "年次報告書によると、当社の純利益は三億円でした。"),
];

const HANGUL: [(&str, &str); 6] = [
    (
        "어떻게 하면 잠을 더 잘 잘 수 있나요?",
        "밤에 뒤척이는 사람은 낮에 커피를 줄이고 침대에 눕기 전에 화면을 끄는 것이 좋다.",
    ),
    (
        "싼 비행기표는 어디서 사나요?",
        "두 달 전에 항공사 웹사이트에서 좌석을 예약하면 보통 요금이 가장 낮다.",
    ),
    (
        "강아지가 밥을 안 먹으면 어떡하죠?",
        "반려동물의 식욕이 떨어지면 먼저 체온을 재고 수의사에게 데려간다.",
    ),
    (
        "하늘은 왜 파란가요?",
        "대기의 분자는 짧은 파장의 빛을 더 강하게 산란시켜 낮의 창공이 그런 색을 띤다.",
    ),
    (
        "물이 새는 수도꼭지는 어떻게 고치나요?",
        "중앙 밸브를 잠그고 손잡이를 빼낸 뒤 새 고무 패킹으로 교체한다.",
    ),
    ("회사는 작년에 돈을 얼마나 벌었나요?", "연간 보고서에 따르면 기업의 순이익은 삼억 원이었다."),
];

const CYRILLIC: [(&str, &str); 6] = [
    (
        "Как лучше спать?",
        "Тем, кто ночью долго не может уснуть, стоит пить меньше кофе и выключать экраны перед отдыхом.",
    ),
    (
        "Где купить дешёвые авиабилеты?",
        "Если заказать место на сайте перевозчика за два месяца, цена обычно самая низкая.",
    ),
    (
        "Что делать, если щенок не ест?",
        "Когда у питомца пропал аппетит, сначала измерьте температуру, затем покажите его ветеринару.",
    ),
    (
        "Почему небо голубое?",
        "Молекулы воздуха сильнее рассеивают короткие волны света, поэтому днём небосвод имеет такой цвет.",
    ),
    (
        "Как починить капающий кран?",
        "Перекройте главный вентиль, снимите ручку и поставьте новую резиновую прокладку.",
    ),
    (
        "Сколько денег заработала компания в прошлом году?",
        "Согласно годовому отчёту, чистая прибыль фирмы составила триста миллионов.",
    ),
];
