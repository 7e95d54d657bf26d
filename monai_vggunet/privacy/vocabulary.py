"""Words that name nobody: what series descriptions, data sets and our own messages are made of.

PS3.15 E.3.5 (Clean Descriptors Option) asks for the removal of identifying information from free text. What is known to
be harmless can be listed, what names a person cannot: so these words stay, and all others go. Common first and family
names are left out even where they are words of radiology (long, white, root, Li for "links").
"""

from __future__ import annotations

from monai_vggunet.file_kinds import (
    ARCHIVE_ENDINGS,
    COMPANION_ENDINGS,
    DICOM_ENDINGS,
    NIFTI_ENDINGS,
    NRRD_ENDING,
    PICTURE_ENDINGS,
    SLICER_ENDING,
)

__all__ = ["FILE_ENDINGS", "KERNEL_LETTERS", "UNITS", "WORDS"]

# PS3.3 C.7.3.1.1.1, retired ones included.
_MODALITIES = """
    adc ann ar asmt au bdus bi bmd cbct cd cfm cr ct ctprotocol dd dg dm dms doc dr ds dwi dx ec ecg eeg emg eog eps
    es fa fid fs gm hc hd io iol ivoct ivus ker ko len lp ls m3d ma mg mr mri ms oam oct op opm opt optbsv optenf
    opv oss ot pa pet plan pos pr pt px reg resp rf rg rtdose rtimage rtintent rtplan rtrad rtrecord rtsegann
    rtstruct rwv seg sm smr spect sr srf st stain texturemap tg us va xa xaprotocol xc
"""

_ANATOMY = """
    abdo abdomen abdominal acetabulum achilles acromioclavicular adenoid adnexa adrenal adrenals airway airways anal
    angio ankle ankles anterior antrum anus aorta aortic aortoiliac apex appendix arch arm arms arterial arteries
    artery articular ascending atlas atrial atrium auditory axilla axillary back basal base basilar bilateral bile
    biliary bladder blood body bone bones bowel brachial brain brainstem breast breasts bronchi bronchial bronchus
    buttock calcaneus calcium calf canal cardiac carotid carotids carpal cava cecum celiac cerebellum cerebral
    cervical cervix chest chestabdomen chestabdomenpelvis choroid circle clavicle coccyx colon column cord cornea
    coronaries coronary corpus cortex cortical cranial cranium cyst cysts descending diaphragm disc disk distal
    dorsal duct ducts duodenum ear ears edema elbow elbows endometrium epididymis esophagus external extremities
    extremity eye eyes face facial fat femoral femur femurs fetal fetus fibula finger fingers foot forearm forefoot
    fossa fracture gallbladder ganglia gastric gastrointestinal genital gland glands glenohumeral gonads groin hand
    hands head headneck heart heel hepatic hepatobiliary hilum hindfoot hip hippocampus hips humerus hypophysis iac
    iacs ileum iliac inferior inguinal inner intestine intracranial intraprostatic ischium jaw jejunum joint joints
    jugular kidney kidneys knee knees kub lacrimal large larynx left leg legs lens lesion lesions ligament limb
    limbs liver lobe lower lumbar lumbosacral lung lungs lymph lymphatic lymphnode lymphnodes mandible mastoid
    maxilla maxillofacial meckel mediastinum medulla meniscus mesenteric mesentery metacarpal metastases metastasis
    metatarsal midfoot midgland mouth mrcp muscle muscles myocardium nasal nasopharynx neck nerve nerves neuro node
    nodes nodule nodules nose obstetric occipital oesophagus optic oral orbit orbits oropharynx orthopantomogram
    ovarian ovaries ovary palate pancreas pancreatic parathyroid parietal parotid patella pelvic pelvis penis
    pericardium perineum peripheral peripheralzone peritoneum petrous pharynx pituitary placenta plaque plexus polyp
    popliteal portal posterior prostate proximal pubis pulmonary quadrant radius rectal rectum renal retina
    retroperitoneum rib ribs right sacral sacroiliac sacrum salivary scaphoid scapula sciatic scrotum sella septum
    shoulder shoulders si sinus sinuses skeletal skeleton skin skull soft sphenoid spinal spine spleen splenic stent
    sternoclavicular sternum stomach stones subclavian superior talus tarsal teeth temporal temporomandibular tendon
    testicle testicular testis thigh thighs thoracic thoracoabdominal thorax thoraxabdomen throat thumb thymus
    thyroid tibia tissue tmj toe toes tongue tonsil tooth trachea tracheal transitional transplant trunk tumor
    tumors tumour tympanic ulna umbilical upper ureter urethra urinary urogenital uterus vagina vascular vein veins
    vena venous ventral ventricle ventricles ventricular vertebra vertebrae vertebral vessel vessels vulva wb whole
    wholebody wrist wrists zone
"""

_ANATOMY_IN_OTHER_LANGUAGES = """
    addome anca bacino bauch bauchspeicheldruse bazo becken been bein beine bekken boca bocca borst braccio brazo
    brust brustkorb brustwirbelsaule brzuch buik buk bws cabeca cadera caviglia cerebro cerveau cervello cheville
    codo coeur collo colonne columna coluna coracao coscia cotovelo cou coude crane craneo cranio cuello cuisse
    cuore darm dedo dente dents dientes dito doigt ellbogen elleboog encefalo enkel epaule espalda estomac estomago
    faccia fegato felsenbein femore figado foie fot fuss galle gallenblase gebarmutter gefass gefasse gehirn gelenk
    genou gesicht ginocchio glowa gomito hals halswirbelsaule hanche handgelenk harnblase haut hersenen herz heup
    higado hirn hjarna hjarta hoden hombro hoofd hueso huesos huft hufte huvud hws jambe jambes joelho kaak keel
    klatka knap knie knochen knorpel kolano kopf kregoslup leber lendenwirbelsaule lombaire longen luftrohre lunga
    lunge lungen lungor lws maag machoire magen main mama mamas mammella mandibula mano miednica milz milza mjalte
    moelle mond mozg mund muneca muskel muslo nacken nariz nasennebenhohlen naso nebenniere nebennieren nek nerka
    nez nier niere nieren njurar njure nnh oberarm oberbauch oberkorper oberschenkel occhio oeil oesophage ohr oido
    ojo ombro oog oor orecchio oreille orteil os osso peau pecho perna pescoco petto pie pied piede pierna piernas
    pluca poignet poitrine polmone polmoni pols polso poumon poumons prostata pulmao pulmon pulmones punho quadril
    rachide rachis rate rein reins reni rim rinon rinones rins rippe rippen rodilla rucken rumpf rygg sacre schadel
    schedel schiena schilddruse schouder schulter sein seins seno serce skalle spalla speiserohre sprunggelenk
    steissbein stomaco szyja tete thyroide tiroide tiroides tobillo torace torax tornozelo unterarm unterbauch
    unterschenkel utero vaisseaux vejiga vertebrale vescica vesicule vessie voet watroba weichteil weichteile
    wervelkolom wirbel wirbelsaule zahne zehe
"""

_PLANES_AND_POSITIONS = """
    ap ax axes axial axiale axiales axials axis cor coronal coronale coronales decubitus double erect feet ffp ffs
    fh first hf hfp hfs iso isotropic kor koronar lat lateral lr medial median obl oblik oblique orthogonal
    paracoronal parasagittal plane planes prone radial rl rotated sag sagital sagitale sagittal sagittale sitting
    standing supine tra trans transv transversal transversale transverse upright
"""

_MAGNETIC_RESONANCE = """
    ad adjusted arc arthro arthrography asl asset bffe bh blade bold breath breathhold bssfp bval bvalue bvalues
    bvec bw caipi caipirinha cal calib calibration cbf cbv cine ciss coil coils colfa complex compressed corrected
    correction cp cs csi cube dark dce de delayed delta dess dflair diff diffusion dir dis distortion dixon dotarem
    dsc dsi dti dual dw eadc echo echoes eflow ekg end enhancement enterography ep epi etl exp expiration expiratory
    exsp fast fatfraction fatsat fatsuppressed fatwater fb ff ffe fieldmap fiesta filt filter filtered fl flair
    flash fmri fov fraction free freebreathing fse fspgr full func functional gad gado gadolinium gadovist gated
    gating gd ge gradient grappa gre half hardi haste held hold hyper ideal idealiq imag imaginary in inphase insp
    inspiration inspiratory inversion ip ipat iq ir ispace ktrans lava lge localiser localisers locator mag
    magnitude map mapping maps mb md medic merge minip mip moco mocoseries molli motion mp mprage mra mrs mrv msense
    mtt multi multiband multiecho multivane myelo myelography native nav navigated navigator nex nfs noddi norm
    normalized nsa oop opp opposed out outphase pasl pc pca pcasl pd pdff pdw pei perf perfusion ph pha phase phases
    phs postcontrast precontrast prescan press primovist propeller psir qflow qsm quantitative quarter quiet
    radialvibe rage real realtime recovery ref reference relative relaxometry resolve respiratory rest resting rfov
    rs sat saturated scan se sense shim shmolli silent slope sms space spair spectral spectroscopy spgr spin spir
    spoiled sse ssfp ssfse star starvibe steam stir stopped sub subtracted subtraction sup suppressed svs swan swi
    syn synthetic tagged tagging task te tensor tfe thrive ti tir tirm tmax tof tr trace tracew trig triggered
    triggering triple tse ttp turbo unnormalized urography vibe vista wash washin washout water watersat wfs zoomit
"""

_COMPUTED_TOMOGRAPHY = """
    abd abdomenpelvis abdpel abdpelvis admire aice aidr art arteriel arteriell arterielle arteriosa asir asirv
    average avg axialthin bestdiast bestsyst bf block bolus boneplus cap cardio casc ce cect chestpelvis chst
    contrast contraste coronarycta corte cortes corticomedullary coupe coupes cta ctc ctpa ctu ctv dect deep delay
    detail diastole diastolic dlir dlr dose duenn dunn dyn dynamic early edge energy enhanced equilibrium excretory
    fbp fenetre fenster fruh fruhe gap helical hi high hna hrct idose image images img imr inc increment incremental
    iodine iodinemap iterative iv kernel km kmg knochenfenster kontrast kontrastmittel late ldct leftatrium loc
    localizer localizers locs lowdose lungenfenster mbir mean mediastinal mips mitkm mixed monitoring mono
    monoenergetic monoplus mpr mprs mpvr nap nativ nc ncct nephro nephrographic noncontrast nonenhanced ohnekm
    overlap overlapping parenchyma parenchymal patient percent peripheralrunoff pilot plain planning po polytrauma
    portalvenos portalvenose portalvenous portovenous precoce premonitoring prospective protocol pulmo pv recon
    recons reconstructed reconstruction reko rekon rekonstruktion report res resolution retro retrospective rr
    runoff safire save scano scanogram schicht schichten score scoring scout screen seq sequence sequential serie
    serien series sharpened shoot slab slice slices smooth softtissue spat spate spiral ssd standard std step stnd
    stroke summary survey surview systole systolic tap tardia tardif tardive tavi tavr test thick thickness thicks
    thin thins thinslice thk thorabd thx timing topo topogram topograms toposcan tracking trauma truefidelity ultra
    unenhanced urographic veineuse veineux venos venosa venose ventana veo vnc vol volume volumetric vr vrt weich
    weichteilfenster window
"""

_NUCLEAR_MEDICINE = """
    ac acct attenuation bed beds bonescan bqml choline cnts cps ctac dotanoc dotatate dotatoc emission fdg fet fused
    fusion gml listmode mdp mibi mrac nac osem pcnt planar propcnts propcps psf psma scatter static stress suv tomo
    tomography transmission uncorrected wholebodyscan
"""

_OTHER_MODALITIES = """
    angiography beam bmode clip clips color colour compression cone dbt dental dexa doppler dsa duplex endoscopy
    fluoro fluoroscopy fundus histology magnification mammo mammography microscopy mlo mmode octa panoramic photo
    photograph picture pictures projection radiograph radiographie roentgen rontgen slide spot tomosynthesis
    ultrasound xray
"""

_COMMON_WORDS = """
    a abnormal abs acq acquisition additional adult after again all and angle angles as at auf aus auto automatic
    avec b baby baseline basic basis bds before bei beide beidseits both bottom by c center central check child con
    control copies copy da das default degree degrees del della der derecha derecho derived des destra dev di die
    droit droite du during e each ein eine en et every exam examination extra false female final five follow
    followup for four from fur gauche group i il im infant initial into is it izquierda izquierdo la las last lax
    les links los lt lts male manual mid middle minus mit n nach neonatal new no non none normal nr number oder of
    off ohne old on one or original other ou paediatric par part partial pass pediatric per phantom plus point
    points por position positions post pour pra prae pre primary qa qc quality r ratio re rechts redo rel repeat
    repeated rotation routine rt run rutina rutine sa sans sax second secondary sem set sin sine sinistra special
    stdev studie study sum sur table the third three tilt tilted time timepoint times to top total true two type
    types und unknown up v van version view views vom von vor w with without y z zu zum zur
"""

_DATA_SETS = """
    amos annotation annotations anon anonymised anonymized archive archives background backup bin bmp brats btcv
    bundle case cases centre challenge chaos checkpoint checkpoints class classes clinic cohort config configs
    cropped csv data database dataset datasets dcm decathlon deid deidentified demo dice dicom dicomdir dicoms dvd
    epoch epochs eval evaluation example examples export exports file files fold folder folders folds foreground
    frame frames groundtruth gt gz hdr history home hospital html ima import imports index info input inputs jpeg
    jpg json kits label labels license lits log loss mask masks media meta metadata metrics mgz mha mhd model models
    msd names nifti nii nnunet nrrd obj object objects organ organe organs output outputs pacs patients pdf png pred
    prediction predictions preds preprocessed processed pseudo pseudonymized quickstart raw readme record records
    registered reports resampled result results sample samples scans segmentation segmentations segmentierung segs
    ser ses sess session sessions site split splits studies subj subject subjects tar temp testing tif tiff tmp
    totalsegmentator train training truth ts tst tsv tutorial txt unseen user users val valid validation visit
    visits volumes work xml yaml yml zip
"""

# PS3.3: photometric interpretations, types of images, contours and segmentations.
_DEFINED_TERMS = """
    argb binary closed closedplanar cmyk csa fm fractional hsv ict labelmap monochrome nonplanar open palette parallel
    planar rct rgb subtract surface tiled xor ybr
"""

# Understood behind a number, where "ma" and "hu" are no family names.
_UNITS = """
    mm cm m um s ms sec secs min mins h hz khz mhz kv kvp kev mev ma mas mgy gy hu t ml l cc mg g kg deg grad d x ch st
    nd rd th px pct
"""

# Before the number of a kernel: Siemens B30f, Br40d, Hr60s; Canon FC51; Philips YA, YB.
_KERNEL_LETTERS = "b h u t d i j br hr qr ur bv bl bf bp hc hv sa sd fc fl ya yb yc yd"

# What may follow a name that is replaced, and tells what a file holds.
_OTHER_ENDINGS = (".mha", ".mhd", ".img", ".hdr", ".pt", ".onnx", ".bin")
FILE_ENDINGS = (
    *NIFTI_ENDINGS,
    SLICER_ENDING,  # before the shorter one that it ends with
    NRRD_ENDING,
    *DICOM_ENDINGS,
    *PICTURE_ENDINGS,
    *COMPANION_ENDINGS,
    *ARCHIVE_ENDINGS,
    *_OTHER_ENDINGS,
)

_NAMES_TOO = {"ann", "hu", "ma"}  # a first name and two family names, beside a modality and two units
_ALL = (
    _MODALITIES,
    _ANATOMY,
    _ANATOMY_IN_OTHER_LANGUAGES,
    _PLANES_AND_POSITIONS,
    _MAGNETIC_RESONANCE,
    _COMPUTED_TOMOGRAPHY,
    _NUCLEAR_MEDICINE,
    _OTHER_MODALITIES,
    _DEFINED_TERMS,
    _COMMON_WORDS,
    _DATA_SETS,
    _UNITS,
)

UNITS, KERNEL_LETTERS = frozenset(_UNITS.split()), frozenset(_KERNEL_LETTERS.split())
WORDS = frozenset(" ".join(_ALL).split()) - _NAMES_TOO
