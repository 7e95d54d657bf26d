// Reads a DICOM SEG by Cornerstone3D's adapter, as OHIF does, onto the images it refers to.
//
//     node read_seg.mjs IMAGES.json SEG.dcm OUT.raw [SEG.dcm OUT.raw ...]
//
// IMAGES.json lists the source's images in stack order, with sopInstanceUID, frame (0 in single-frame files),
// seriesInstanceUID, rows, columns, position, rowCosines, columnCosines, rowSpacing, columnSpacing. OUT.raw gets one
// byte per pixel, image after image: the segment's number.
import { readFileSync, writeFileSync } from 'node:fs';
import { adaptersSEG } from '@cornerstonejs/adapters';
import { cache, metaData } from '@cornerstonejs/core';

const [imagesPath, ...pairs] = process.argv.slice(2);
const images = JSON.parse(readFileSync(imagesPath, 'utf8'));
const idOf = image => `wadors:series/instances/${image.sopInstanceUID}/frames/${image.frame || 1}`;
const byId = new Map(images.map(image => [idOf(image), image]));

const provide = (type, imageId) => {
    const image = byId.get(imageId);
    if (!image) return undefined;
    switch (type) {
        case 'imagePlaneModule':
            return {
                rows: image.rows,
                columns: image.columns,
                imagePositionPatient: image.position,
                imageOrientationPatient: [...image.rowCosines, ...image.columnCosines],
                rowCosines: image.rowCosines,
                columnCosines: image.columnCosines,
                rowPixelSpacing: image.rowSpacing,
                columnPixelSpacing: image.columnSpacing,
                pixelSpacing: [image.rowSpacing, image.columnSpacing],
            };
        case 'generalSeriesModule':
            return { seriesInstanceUID: image.seriesInstanceUID, modality: 'CT' };
        case 'generalImageModule':
            return { sopInstanceUID: image.sopInstanceUID };
        case 'imagePixelModule':
            return { bitsAllocated: 8, bitsStored: 8, highBit: 7, samplesPerPixel: 1, pixelRepresentation: 0 };
        case 'instance':
            return {
                SOPInstanceUID: image.sopInstanceUID,
                Rows: image.rows,
                Columns: image.columns,
                ImagePositionPatient: image.position,
                ImageOrientationPatient: [...image.rowCosines, ...image.columnCosines],
                PixelSpacing: [image.rowSpacing, image.columnSpacing],
            };
        default:
            return undefined;
    }
};
metaData.addProvider(provide, 10000);

const read = async (segPath, outPath) => {
    cache.purgeCache();
    const file = readFileSync(segPath);
    const buffer = file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength);
    const { labelMapImages } = await adaptersSEG.Cornerstone3D.Segmentation.createFromDICOMSegBuffer(
        images.map(idOf),
        buffer,
        { metadataProvider: { get: provide } }
    );
    const out = new Uint8Array(images.reduce((total, image) => total + image.rows * image.columns, 0));
    let offset = 0;
    images.forEach((image, index) => {
        for (const layer of labelMapImages) {
            const pixels = layer[index].voxelManager.getScalarData();
            for (let k = 0; k < pixels.length; k++) if (pixels[k]) out[offset + k] = pixels[k];
        }
        offset += image.rows * image.columns;
    });
    writeFileSync(outPath, out);
};
for (let k = 0; k < pairs.length; k += 2) await read(pairs[k], pairs[k + 1]);
process.exit(0);
